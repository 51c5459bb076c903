import { watchConnection } from "./connection.js";
import { watchCopies } from "./copy.js";
import { watchFocus } from "./focus.js";
import { watchDoubleClicks, watchNotices, watchRemembered } from "./notices.js";
import { watchUnits } from "./number.js";
import { watchTimes } from "./time.js";

watchTimes();
watchUnits();
watchConnection();
watchNotices();
watchFocus();
watchCopies();
watchDoubleClicks();
watchRemembered();
// What is newest is in sight, also where a table is wider than the screen.
for (const table of document.querySelectorAll(".heat")) table.parentElement.scrollLeft = table.parentElement.scrollWidth;
