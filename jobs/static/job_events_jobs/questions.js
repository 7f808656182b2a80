/**
 * The questions of the job. Their scripts are loaded when the job has asked one.
 */

/**
 * @param {HTMLElement} root  May contain the open questions for pages without scripts.
 * @param {Object} page
 * @returns {{draw(change?: {events?: Object[]}): void}}
 */
export function createQuestions(root, page) {
  let list = null;
  let loading = null;

  async function load() {
    const { QuestionList } = await import("./question-list.js");
    list = new QuestionList(root, page);
    list.draw({ events: page.events });
  }

  return {
    draw(change) {
      const isAsked = page.model.types.has("input_requested") || root.childElementCount > 0;
      if (list) list.draw(change);
      else if (isAsked) loading ??= load();
    },
  };
}
