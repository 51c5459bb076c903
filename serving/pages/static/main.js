import { watchConnection } from "./connection.js";
import { watchUnits } from "./number.js";
import { watchTimes } from "./time.js";

watchTimes();
watchUnits();
watchConnection();
// What is newest is in sight, also where a table is wider than the screen.
for (const table of document.querySelectorAll(".heat")) table.parentElement.scrollLeft = table.parentElement.scrollWidth;
// On a phone the pages' names scroll: the open one is in sight.
document.querySelector('.top nav [aria-current]')?.scrollIntoView({ block: "nearest", inline: "center" });
