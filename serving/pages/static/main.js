import { watchConnection } from "./connection.js";
import { watchCopies } from "./copy.js";
import { watchFocus } from "./focus.js";
import { watchKept } from "./kept.js";
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
watchKept();
// What is newest is in sight, also where a table is wider than the screen.
for (const table of document.querySelectorAll(".heat")) table.parentElement.scrollLeft = table.parentElement.scrollWidth;
