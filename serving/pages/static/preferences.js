// What this browser prefers: `theme` (light, dark or empty for the system's) and `zone` (empty for the system's).
export function preference(name) {
  return localStorage.getItem(`energy.${name}`) || "";
}

export function prefer(name, value) {
  if (value) localStorage.setItem(`energy.${name}`, value);
  else localStorage.removeItem(`energy.${name}`);
  if (name === "theme") {
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
  }
  document.dispatchEvent(new CustomEvent("energy:preference", { detail: { name, value } }));
}

export function zone() {
  return preference("zone") || Intl.DateTimeFormat().resolvedOptions().timeZone;
}
