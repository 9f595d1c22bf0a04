// What is shown of recipes and of their batches (Scale v6). Pure.

/** The tone of a job's state. */
export function jobTone(status) {
  return { COMPLETED: "good", FAILED: "bad", RUNNING: "run", BLOCKED: "warn", CANCELED: "quiet" }[status] ?? "";
}

/** What a node of a recipe is and does: `{kind, what, state, tone, link}`; `present` false: it was not made, or not yet. */
export function nodeOf(definition, instance) {
  const type = (instance ?? definition)?.node_type ?? {};
  const kind = type.node_type ?? "job";
  if (kind === "job") {
    const what = `${type.job_type_name} ${type.job_type_version}`;
    const state = instance ? type.status ?? "PENDING" : "not made";
    return { kind, what, state, tone: instance ? jobTone(state) : "none", link: null };
  }
  if (kind === "recipe") {
    const what = `${type.recipe_type_name}, revision ${type.recipe_type_revision}`;
    if (!instance) return { kind, what, state: "not made", tone: "none", link: null };
    const failed = (type.jobs_failed ?? 0) + (type.jobs_canceled ?? 0);
    const state = type.is_completed ? "completed" : failed > 0 ? "failed" : "under way";
    return { kind, what, state, tone: type.is_completed ? "good" : failed > 0 ? "bad" : "run", link: type.recipe_id ?? null };
  }
  if (!instance) return { kind, what: "condition", state: "not made", tone: "none", link: null };
  const state = type.is_processed ? (type.is_accepted ? "accepted" : "rejected") : "undecided";
  return { kind, what: "condition", state, tone: type.is_processed ? "good" : "", link: null };
}

const COUNTS = ["jobs_failed", "jobs_canceled", "jobs_blocked", "jobs_running", "jobs_queued", "jobs_pending", "jobs_completed"];

/** The state of a node over a whole batch: the worst that is there, with how many of how many are done. */
export function nodeTotals(metrics) {
  if (!metrics || !metrics.jobs_total) return { state: "no jobs", tone: "none" };
  const worst = COUNTS.find((name) => metrics[name] > 0) ?? "jobs_pending";
  const status = worst.slice("jobs_".length).toUpperCase();
  const state = worst === "jobs_completed" ? `${metrics.jobs_completed} done` : `${metrics.jobs_completed} of ${metrics.jobs_total}`;
  return { state: metrics.jobs_failed > 0 ? `${state}, ${metrics.jobs_failed} failed` : state, tone: jobTone(status) };
}

/** Seconds of an ISO 8601 duration such as `P1DT2H3M4.5S`; null for none. */
export function seconds(text) {
  const found = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(text ?? "");
  if (!found) return null;
  const [, days, hours, minutes, rest] = found.map((part) => Number(part ?? 0));
  return days * 86_400 + hours * 3_600 + minutes * 60 + rest;
}

const ROWS = [
  ["recipes_estimated", "Recipes estimated"], ["recipes_total", "Recipes"], ["recipes_completed", "Recipes completed"], ["jobs_total", "Jobs"],
  ["jobs_completed", "Jobs completed"], ["jobs_failed", "Jobs failed"], ["jobs_blocked", "Jobs blocked"], ["jobs_running", "Jobs running"],
  ["jobs_queued", "Jobs queued"], ["jobs_pending", "Jobs pending"], ["jobs_canceled", "Jobs canceled"],
];
const NODE_ROWS = [["jobs_total", "Jobs"], ["jobs_completed", "Completed"], ["jobs_failed", "Failed"], ["avg_job_duration", "Mean time of a job"], ["max_job_duration", "Longest job"]];

/**
 * The rows of a comparison: `{group, name, values, changes}`. A value is a number (of seconds, for durations) or null. `changes` has, for
 * each batch but the first, the difference to the one before it, where both have a value.
 */
export function comparison(document) {
  const row = (group, name, values, isTime) => {
    const numbers = values.map((value) => (isTime ? seconds(value) : value ?? null));
    const changes = numbers.map((value, index) => (index === 0 || value === null || numbers[index - 1] === null ? null : value - numbers[index - 1]));
    return { group, name, values: numbers, changes, isTime };
  };
  const metrics = document.metrics ?? {};
  const rows = ROWS.filter(([key]) => metrics[key]).map(([key, name]) => row("Batch", name, metrics[key], false));
  for (const node of Object.keys(metrics.job_metrics ?? {}).sort()) {
    for (const [key, name] of NODE_ROWS) {
      const values = metrics.job_metrics[node][key];
      if (values) rows.push(row(node, name, values, key.endsWith("duration")));
    }
  }
  return rows;
}
