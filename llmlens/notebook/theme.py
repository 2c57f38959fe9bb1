"""The style sheet of every output. It follows the front end: JupyterLab's variables, or VS Code's, or none.

Without it (GitHub strips styles) the same HTML still reads as plain tables.
"""

from functools import cache

_STYLE = """
.lens{--ink:var(--jp-content-font-color1,var(--vscode-editor-foreground,currentColor));
--soft:var(--jp-content-font-color2,var(--vscode-descriptionForeground,color-mix(in srgb,currentColor 62%,#0000)));
--line:var(--jp-border-color2,var(--vscode-editorWidget-border,color-mix(in srgb,currentColor 18%,transparent)));
--wash:color-mix(in srgb,currentColor 4%,transparent);
--bad:var(--jp-error-color1,var(--vscode-errorForeground,#c62828));--good:var(--jp-success-color1,#2e7d32);
--warn:var(--jp-warn-color1,#b26a00);
color:var(--ink);font:13px/1.5 var(--jp-content-font-family,system-ui,sans-serif);max-width:100%;margin:2px 0 6px}
.lens.lens :is(table,tbody,tr,td,th){border:0;background:none;color:inherit;text-align:left;
vertical-align:top;font:inherit}
.lens.lens table.lens-board{display:block;width:100%;margin:0;padding:0;table-layout:auto}
.lens.lens .lens-board>tbody{display:block}
.lens.lens .lens-board>tbody>tr{display:grid;
grid-template-columns:repeat(auto-fit,minmax(min(17rem,100%),1fr));gap:10px}
.lens.lens .lens-board>tbody>tr>td{display:grid;grid-row:span 3;grid-template-rows:subgrid;gap:0;min-width:0;padding:0;
max-width:none;white-space:normal;border:1px solid var(--line);border-radius:6px;overflow:hidden}
.lens-head{display:flex;flex-wrap:wrap;gap:4px 6px;align-items:center;padding:6px 11px;background:var(--wash);
border-bottom:1px solid var(--line)}
.lens-head b{font-weight:600;margin-right:auto;overflow-wrap:anywhere}
.lens-badge{font-size:11px;line-height:16px;padding:0 6px;border-radius:8px;border:1px solid var(--line);
color:var(--soft);white-space:nowrap}
.lens-badge.hit{color:var(--good);border-color:currentColor}
.lens-badge.bad{color:var(--bad);border-color:currentColor}
.lens-badge.warn{color:var(--warn);border-color:currentColor}
.lens-badge.sim{border-style:dashed}
.lens-body{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(13rem,100%),1fr));gap:12px 20px;
align-content:start;padding:9px 11px;min-width:0}
.lens-sample{min-width:0}
.lens-text{white-space:pre-wrap;overflow-wrap:anywhere}
.lens-text.code{font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px}
.lens-note{color:var(--soft);font-size:11px;font-variant-numeric:tabular-nums}
.lens-error{color:var(--bad);white-space:pre-wrap;overflow-wrap:anywhere}
.lens-body details{color:var(--soft);margin-bottom:6px}
.lens-body summary{cursor:pointer;font-size:11px}
.lens-meta{display:flex;flex-wrap:wrap;gap:3px 18px;padding:6px 11px 8px;
border-top:1px solid var(--line);font-variant-numeric:tabular-nums;align-content:start}
.lens-meta span{display:block;white-space:nowrap}
.lens-meta i{display:block;font-style:normal;font-size:10.5px;line-height:14px;color:var(--soft)}
.lens.lens table.lens-table{margin:0;border-collapse:collapse;font-variant-numeric:tabular-nums}
.lens.lens .lens-table td{padding:3px 20px 3px 0;border-bottom:1px solid var(--line);max-width:none;
white-space:normal;overflow-wrap:anywhere}
.lens.lens .lens-table tr:last-child td{border-bottom:0}
.lens.lens .lens-table td:first-child{white-space:nowrap}
.lens.lens .lens-table tr{background:none!important}
.lens.lens .ok{color:var(--good)}.lens.lens .bad{color:var(--bad)}
.lens.lens .warn{color:var(--warn)}.lens.lens .soft{color:var(--soft)}
"""


@cache
def style() -> str:
    """The sheet as one `<style>` element, on one line."""
    return f"<style>{''.join(_STYLE.splitlines())}</style>"
