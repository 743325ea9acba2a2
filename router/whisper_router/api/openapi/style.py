"""The style sheet of the page."""

CSS = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6470; --paper: #fff; --shade: #f3f5f7;
  --line: #d6dbe1; --link: #0b57d0; --get: #0a6b3d; --post: #0b57d0; --delete: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #a3adb9; --paper: #14171b; --shade: #1e2329; --line: #363e48;
    --link: #8ab4f8; --get: #6fd39b; --post: #8ab4f8; --delete: #f2a19b; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 0 1rem 4rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--paper); padding: .5rem; z-index: 1; }
header { padding: 1.5rem 0 .5rem; border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 1.7rem; }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.35rem; }
h3 { margin: 0; font-size: 1.05rem; font-weight: 600; overflow-wrap: anywhere; }
h4 { margin: 1rem 0 .25rem; font-size: .95rem; }
p { margin: .4rem 0; }
code, pre { font: .9em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
code { overflow-wrap: anywhere; }
pre { background: var(--shade); border: 1px solid var(--line); border-radius: 6px; padding: .6rem;
  margin: .4rem 0; overflow-x: auto; }
nav ul { list-style: none; margin: 0 0 .8rem; padding: 0; }
nav li { padding: .2rem 0; }
nav h2 { font-size: 1rem; margin: .8rem 0 .2rem; }
nav summary h2 { display: inline; }
nav a { text-decoration: none; display: block; overflow-wrap: anywhere; }
nav a:hover { text-decoration: underline; }
.method { display: inline-block; min-width: 3.6rem; font: 700 .8rem ui-monospace, monospace;
  color: var(--post); }
.method.get { color: var(--get); }
.method.delete { color: var(--delete); }
.operation, .schema { border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
  margin: .8rem 0; scroll-margin-top: 1rem; }
.note { color: var(--soft); }
summary { cursor: pointer; font-weight: 600; padding: .4rem 0; }
dl { margin: .2rem 0; }
dl > div { border-top: 1px solid var(--line); padding: .35rem 0; }
dt { font-weight: 400; overflow-wrap: anywhere; }
dd { margin: 0; }
@media (min-width: 60rem) {
  body { display: grid; grid-template-columns: 19rem minmax(0, 1fr); column-gap: 2rem; }
  header { grid-column: 1 / -1; }
  nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto;
    padding: .5rem .2rem; font-size: .9rem; }
  dl > div { display: grid; grid-template-columns: 15rem minmax(0, 1fr); column-gap: 1rem; }
}
"""
