import { watchConnection } from "./connection.js";
import { watchDoubleClicks, watchNotices, watchRemembered } from "./notices.js";
import { watchUnits } from "./number.js";
import { watchTimes } from "./time.js";

watchTimes();
watchUnits();
watchConnection();
watchNotices();
watchDoubleClicks();
watchRemembered();
// What is newest is in sight, also where a table is wider than the screen.
for (const table of document.querySelectorAll(".heat")) table.parentElement.scrollLeft = table.parentElement.scrollWidth;
// On a phone the names of pages and tabs scroll: the open one is in sight.
for (const open of document.querySelectorAll(".top nav [aria-current], .tabs [aria-current]")) open.scrollIntoView({ block: "nearest", inline: "center" });
