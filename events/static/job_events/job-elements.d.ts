/** Types of the elements `<job-progress>` and `<job-timeline>`. */
import type { JobEvent } from "./job-events.js";

declare global {
  interface HTMLElementTagNameMap {
    "job-progress": HTMLElement;
    "job-timeline": HTMLElement;
  }
  interface HTMLElementEventMap {
    /** An event of the job; bubbles. */
    "job-event": CustomEvent<JobEvent>;
    /** Caught up; again after each reconnect. */
    "job-live": CustomEvent<null>;
    /** The job is finished and all events were received. */
    "job-end": CustomEvent<null>;
  }
}

export {};
