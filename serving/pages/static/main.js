import { watchConnection } from "./connection.js";
import { watchTimes } from "./time.js";

watchTimes();
watchConnection();
