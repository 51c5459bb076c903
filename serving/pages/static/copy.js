// A button that copies the text of the element that it names, also where the page comes over plain HTTP.
const SAID_MS = 3000;

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
  } catch { // browsers open the clipboard to secure pages only
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
  return true;
}

export function watchCopies() {
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copy]");
    if (!button) return;
    const before = (button.dataset.before ??= button.textContent);
    button.textContent = (await copy(document.getElementById(button.dataset.copy))) ? "Copied" : "Select it, and copy it by hand";
    setTimeout(() => { button.textContent = before; }, SAID_MS);
  });
}
