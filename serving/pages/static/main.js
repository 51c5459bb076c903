import { watchConnection } from "./connection.js";
import { watchUnits } from "./number.js";
import { watchTimes } from "./time.js";

watchTimes();
watchUnits();
watchConnection();
// On a phone the pages' names scroll: the open one is in sight.
document.querySelector('.top nav [aria-current]')?.scrollIntoView({ block: "nearest", inline: "center" });
