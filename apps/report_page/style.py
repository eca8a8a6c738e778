"""The looks of the page: one style sheet, for any width and for print."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1d2328; --soft: #5b6670;
  --line: #d7dde2; --paper: #fff; --card: #f5f7f9; --before: #6b7680;
  --gain: #0072b2; --loss: #c44f00; --bar: #0072b233; --warn: #fff4e0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --soft: #a3afba;
  --line: #3a444d; --paper: #14181c; --card: #1d2328; --before: #9aa6b2;
  --gain: #56b4e9; --loss: #f0954c; --bar: #56b4e933; --warn: #3a2c14; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0 auto; padding: 1.2rem
  1rem 3rem; max-width: 58rem; color: var(--ink); background: var(--paper);
  overflow-wrap: break-word; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: .4rem 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .5rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
p { margin: .5rem 0; } .soft, figcaption, th { color: var(--soft); }
.when { color: var(--soft); font-size: .9rem; }
code { font: .86em ui-monospace, monospace; }
pre { background: var(--card); padding: .7rem .8rem; border-radius: .4rem;
  white-space: pre-wrap; margin: .5rem 0; }
.cards { display: grid; gap: .8rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
.card { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; }
.card b { display: block; font-size: 1.9rem; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.card > span { display: block; color: var(--soft); font-size: .9rem; }
.note { background: var(--warn); border-left: .3rem solid var(--loss);
  padding: .5rem .8rem; border-radius: .2rem; margin: .6rem 0; }
figure { margin: 1rem 0; } figcaption { font-size: .9rem; margin-top: .4rem; }
svg { display: block; width: 100%; max-width: 36rem; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .94rem; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; font-weight: 400;
  border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
table.facts { width: 100%; } table.facts td { text-align: left; }
table.facts td:first-child { color: var(--soft); width: 38%; }
.gain { color: var(--gain); font-weight: 600; }
.loss { color: var(--loss); font-weight: 600; }
.chip { border: 1px dashed var(--soft); color: var(--soft); font-size: .8rem;
  border-radius: 1rem; padding: 0 .5rem; white-space: nowrap; }
.rows { width: 100%; } .rows .chart { width: 40%; padding-right: 0;
  text-align: center; } td.learned { white-space: nowrap; }
pre, .facts td, li { overflow-wrap: anywhere; }
.gain, .loss { white-space: nowrap; }
.track { position: relative; display: block; height: 1.35rem;
  border-left: 1px solid var(--line); border-right: 1px solid var(--line);
  background: linear-gradient(var(--line), var(--line)) 50% 50% / 1px 100%
  no-repeat, linear-gradient(var(--line), var(--line)) 0 50% / 100% 1px
  no-repeat; margin: 0 .5rem; }
.track i { position: absolute; top: 50%; height: 0; border-top: .55rem solid
  var(--bar); margin-top: -.275rem; }
.track i.was { border-top: .55rem double var(--before); opacity: .45; }
.track u { position: absolute; top: 50%; font-style: normal; line-height: 1;
  text-decoration: none; font-size: .95rem; transform: translate(-50%, -54%); }
.track .was { color: var(--before); } .track .up { color: var(--gain); }
.track .down { color: var(--loss); } .track .same { color: var(--ink); }
.scale { display: flex; justify-content: space-between; margin: 0 .1rem;
  color: var(--soft); font-size: .8rem; }
.key { font-size: .9rem; color: var(--soft); }
.key b { color: var(--before); font-weight: 400; }
.confusion td, .confusion th { border: 1px solid var(--line); padding: .1rem;
  min-width: 1.35rem; height: 1.5rem; text-align: center; font-size: .78rem;
  vertical-align: middle; }
.confusion th:first-child { text-align: right; padding: 0 .4rem; }
.confusion th.top { height: auto; padding: 0; vertical-align: bottom; }
.confusion th.top span { writing-mode: vertical-rl; white-space: nowrap;
  transform: rotate(180deg); padding: .3rem 0; display: inline-block; }
.confusion td.right { outline: 2px solid var(--gain); outline-offset: -3px; }
.pair { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.pair > * { min-width: 0; }
@media (max-width: 40rem) {
  .rows, .rows tbody { display: block; } .rows tr { display: grid;
    grid-template-columns: minmax(4rem, 1fr) 4.2rem 4.2rem 5.1rem;
    border-bottom: 1px solid var(--line); padding: .3rem 0; }
  .rows th, .rows td { border: 0; padding: .1rem 0; }
  .rows td.name { font-weight: 600; }
  .rows .chart { grid-column: 2 / -1; width: auto; }
  .rows .learned { order: 1; text-align: left; } .rows .chart { order: 2; }
  .rows td.learned:not(:has(.chip))::after { content: " learned"; }
  .rows td.learned { color: var(--soft); font-size: .82rem; }
  .rows th.learned, .rows th.chart { display: none; } }
@media print { body { max-width: none; } h2 { break-after: avoid; } }
"""
