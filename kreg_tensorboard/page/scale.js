// Scales of an axis: from values to a length, and their ticks.

const MOST_TICKS = 12;
const NOISE = 1e-6; // of single precision, relative to the gap of two ticks

export function linearScale(low, high, length) {
  const span = high - low || 1;
  const gap = niceGap(span / 5);
  const first = Math.ceil(low / gap - NOISE);
  const last = Math.min(first + MOST_TICKS, Math.floor(high / gap + NOISE));
  const ticks = [];
  for (let i = 0; first + i <= last; i++) {
    ticks.push(Number(((first + i) * gap).toPrecision(12)));
  }
  return {
    ticks,
    gap: () => gap,
    at: (value) => ((value - low) / span) * length,
    from: (position) => low + (position / length) * span,
  };
}

// For values above 0 alone.
export function logScale(low, high, length) {
  const start = Math.log10(low);
  const span = Math.log10(high) - start || 1;
  const powers = logTicks(low, high);
  const even = linearScale(low, high, length); // of a part of one decade
  return {
    ...(powers.length > 1
      ? { ticks: powers, gap: (tick) => 10 ** Math.floor(Math.log10(tick) + 1e-9) }
      : even),
    at: (value) => ((Math.log10(value) - start) / span) * length,
    from: (position) => 10 ** (start + (position / length) * span),
  };
}

// A linear domain that begins and ends at a tick, from 0 unless all values
// are far from it.
export function linearDomain(low, high) {
  if (low === high) {
    if (low === 0 || low === 1) return [0, 1];
    const room = Math.abs(low) / 2;
    return [low - room, high + room];
  }
  const start = low >= 0 && low < high / 2 ? 0 : low;
  const gap = niceGap((high - start) / 5);
  return [
    Math.floor(start / gap + NOISE) * gap,
    Math.ceil(high / gap - NOISE) * gap,
  ];
}

export function logDomain(low, high) {
  return [low / 1.2, high * 1.2];
}

function niceGap(rough) {
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((nice) => nice * unit >= rough * 0.999);
  return Number((step * unit).toPrecision(3));
}

function logTicks(low, high) {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const every = Math.max(1, Math.ceil((last - first) / 8));
  const within = last - first <= 2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = first; power <= last; power++) {
    if (every > 1 && (power % every) !== 0) continue;
    for (const digit of within) {
      const tick = Number(`${digit}e${power}`);
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks;
}
