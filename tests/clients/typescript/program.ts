// Uses the types that openapi-typescript generates: `program.js URL KEY`.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

type Schemas = components["schemas"];

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`${what} does not hold`);
}

function event(number: number, amount: number | string): Schemas["Event"] {
  return {
    specversion: "1.0",
    id: `e${number}`,
    source: "my-bank-sync",
    type: "milepost.transaction.recorded",
    time: "2026-01-31T12:00:00Z",
    data: {
      account_id: "savings_001",
      transaction_id: `t${number}`,
      amount,
      currency: "USD",
      posted_at: "2026-01-31",
      pending: false,
    },
  };
}

// What has the type of one event cannot have the data of another one.
// @ts-expect-error: transaction_id is missing
const wrong: Schemas["Event"] = {
  specversion: "1.0",
  id: "wrong",
  source: "my-bank-sync",
  type: "milepost.transaction.removed",
  time: "2026-01-31T12:00:00Z",
  data: { account_id: "savings_001" },
};

const [url, key] = process.argv.slice(2);
check(url !== undefined && key !== undefined, "two arguments");
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });

const body: Schemas["NewGoal"] = {
  user_id: "typescript",
  name: "Emergency Fund",
  type: "savings",
  target_amount: "10000.00",
  current_amount: 2500,
  deadline: "2030-11-09",
  milestones: [{ amount: 5000, description: "Halfway" }],
};
const made = await client.POST("/goals", { body, params: { header: { "Idempotency-Key": "typescript-1" } } });
const goal = made.data;
check(goal !== undefined && made.response.status === 201, "created");
check(goal.status === "active" && goal.deadline === "2030-11-09T00:00:00", "the goal");
check(goal.milestones[0]?.amount === 5000 && goal.milestones[0].reached_date === null, "its milestone");

const path = { goal_id: goal.id };
const read = await client.GET("/goals/{goal_id}", { params: { path } });
check(JSON.stringify(read.data) === JSON.stringify(goal), "read as created");
const progress = await client.GET("/goals/{goal_id}/progress", { params: { path } });
check(progress.data?.percent_complete === 25 && progress.data.on_track === null, "progress");

const changed = await client.PATCH("/goals/{goal_id}", { params: { path }, body: { status: "paused" } });
check(changed.data?.status === "paused" && changed.data.deadline === goal.deadline, "changed");

const sent = await client.POST("/events", { body: event(1, -12.5), params: { query: { strict: true } } });
check(sent.data?.accepted === 1, "one event");
const batch = await client.POST("/events", { body: [event(2, "3.50"), event(3, 4)] });
check(batch.data?.accepted === 2, "two events");
const unfit = await client.POST("/events", { body: wrong, params: { query: { strict: true } } });
check(unfit.error?.errors?.[0]?.type === "missing_field", "the code of an event that does not fit");

const refused = await client.POST("/goals", { body: { ...body, name: "" } });
check(refused.response.status === 422, "refused");
check(refused.error?.errors?.[0]?.loc.join(".") === "body.name", "the place of what is wrong");

const second = await client.POST("/goals", { body: { ...body, name: "Second" } });
const found: string[] = [];
let cursor: string | undefined;
do {
  const query = { user_id: "typescript", type: "savings", limit: 1, ...(cursor === undefined ? {} : { cursor }) } as const;
  const page = await client.GET("/goals", { params: { query } });
  found.push(...(page.data ?? []).map((each) => each.id));
  cursor = /cursor=([^>&]*)/.exec(page.response.headers.get("Link") ?? "")?.[1];
} while (cursor !== undefined);
check(found.join() === [goal.id, second.data?.id].join(), "all pages");

for (const goal_id of found) {
  const gone = await client.DELETE("/goals/{goal_id}", { params: { path: { goal_id } } });
  check(gone.response.status === 204, "deleted");
}
const missing = await client.GET("/goals/{goal_id}", { params: { path } });
check(missing.response.status === 404 && missing.error?.detail === "Goal not found", "gone");
console.log("the TypeScript client works");
