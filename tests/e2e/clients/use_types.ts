// What a TypeScript client does with the generated types; it only has to compile.
import type { components, operations, paths } from "./api";

type Author = components["schemas"]["library_Author"];
type Create = operations["library_Author_create"]["requestBody"]["content"]["application/json"];
type Page = paths["/api/library/authors"]["get"]["responses"][200]["content"]["application/json"];
type Refusal = components["schemas"]["Problem"];

export const body: Create = { name: "Stanisław Lem", born: "1921-09-12" };

export function names(page: Page): string[] {
  const whole = page.items.filter((row): row is Author => "name" in row);
  return whole.map((row) => row.name).concat(page.total === null ? [] : [String(page.total)]);
}

export function born(author: Author): string | null {
  return author.born;
}

export function told(problem: Refusal): string {
  return `${problem.status} ${problem.detail}`;
}

// @ts-expect-error an attribute that the model does not have
export const wrong: Author["nmae"] = "x";
