// A part of a form that is asked for again, `data-typed`, keeps what was typed into it.
let typed = [];

document.addEventListener("htmx:before:swap", () => {
  const fields = [...document.querySelectorAll("[data-typed] input[id], [data-typed] textarea[id]")];
  typed = fields.filter((field) => field.value !== field.defaultValue).map(({ id, value }) => ({ id, value }));
});
document.addEventListener("htmx:after:swap", () => {
  for (const { id, value } of typed) {
    const field = document.getElementById(id);
    if (field) field.value = value;
  }
  typed = [];
});
