// What the server knows: the runs, and the series of their figures.

export async function fetchRuns() {
  const { runs } = await ask("runs", new URLSearchParams());
  return runs.sort((a, b) => a.run.localeCompare(b.run, "en", { numeric: true }));
}

// {run: {tag: {steps, values}}}; `wanted` is {run, group, tag, points}, each
// a list or left out.
export async function fetchSeries(wanted) {
  const query = new URLSearchParams();
  for (const [name, values] of Object.entries(wanted)) {
    for (const value of [values].flat()) query.append(name, value);
  }
  const series = await ask("series", query);
  for (const tags of Object.values(series)) {
    for (const line of Object.values(tags)) {
      line.values = line.values.map(Number); // "NaN" and "Infinity" are text
    }
  }
  return series;
}

async function ask(route, query) {
  const response = await fetch(`${route}?${query}`);
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}
