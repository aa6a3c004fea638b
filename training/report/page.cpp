#include "training/report/page.h"

#include <algorithm>

#include "training/report/chart.h"
#include "training/report/text.h"

namespace rtfq::report {
namespace {

constexpr const char* style = R"css(
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:20px 20px 60px;background:var(--surface);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.25;margin:.2em 0 .3em}
h2{font-size:1.25rem;margin:2.2em 0 .5em;padding-top:.7em;border-top:1px solid var(--grid)}
h3{font-size:1.05rem;margin:1.6em 0 .4em}
p{max-width:75ch;margin:.5em 0}.muted{color:var(--muted)}
code{font:.88em ui-monospace,'DejaVu Sans Mono',monospace}
a{color:var(--c0)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,380px),1fr));gap:14px 22px;margin:12px 0}
.charts svg{display:block;width:100%;height:auto;max-width:640px}
.strip{display:block}
.tiles{display:flex;flex-wrap:wrap;gap:10px;margin:16px 0}
.tile{flex:1 1 150px;border:1px solid var(--grid);border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:1.45rem;line-height:1.3;font-variant-numeric:tabular-nums}
.tile span{color:var(--muted);font-size:.87rem}
.note,.warning{border-left:4px solid var(--c0);background:var(--panel);padding:8px 14px;margin:12px 0;border-radius:0 6px 6px 0}
.warning{border-color:var(--c1)}
.note ul,.warning ul{margin:0;padding-left:1.1em}
.scroll{overflow-x:auto;margin:10px 0;max-width:100%}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:4px 12px 4px 0;border-bottom:1px solid var(--grid);white-space:nowrap}
th{color:var(--muted);font-weight:600;vertical-align:bottom}
td.n,th.n{text-align:right}
tr.strong td{font-weight:600}
details{margin:10px 0}summary{cursor:pointer;font-weight:600;padding:4px 0}
pre{overflow-x:auto;background:var(--panel);padding:12px;border-radius:6px;font:12.5px/1.45 ui-monospace,'DejaVu Sans Mono',monospace}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:10px 0}
dt{color:var(--muted)}dd{margin:0}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(104px,1fr));gap:12px;margin:10px 0}
.pictures figure{margin:0;font-size:.8rem;line-height:1.35}
.pictures img{display:block;width:100%;max-width:112px;image-rendering:pixelated;border-radius:4px;margin-bottom:4px;
background:var(--grid)}
progress{width:100%;max-width:480px;accent-color:var(--c0)}
@media(max-width:520px){body{padding:12px 14px 40px}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}
th,td{padding-right:9px}}
@media print{details:not([open])>*{display:block}}
)css";

std::string cell(const Cell& c, const char* tag) {
  const std::string name = tag;
  return "<" + name + (c.number ? " class=\"n\">" : ">") + (c.is_html ? c.text : escape(c.text)) + "</" +
         name + ">";
}

}  // namespace

std::string document(const std::string& title, const std::string& html, int refresh) {
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n";
  if (refresh > 0) out += "<meta http-equiv=\"refresh\" content=\"" + std::to_string(refresh) + "\">\n";
  out += "<title>" + escape(title) + "</title>\n<style>\n" + chart_style() +
         ":root{--panel:#f4f5f7}@media(prefers-color-scheme:dark){:root{--panel:#1f2227}}" + style +
         "</style>\n";
  return out + "</head>\n<body>\n" + html + "</body>\n</html>\n";
}

std::string section(const std::string& heading, const std::string& html) {
  return html.empty() ? "" : "<section>\n<h2>" + escape(heading) + "</h2>\n" + html + "</section>\n";
}

std::string paragraph(const std::string& text) {
  return "<p>" + escape(text) + "</p>\n";
}

std::string folded(const std::string& summary, const std::string& html, bool open) {
  return std::string("<details") + (open ? " open=\"\"" : "") + "><summary>" + escape(summary) +
         "</summary>\n" + html + "</details>\n";
}

std::string charts(const std::vector<std::string>& svgs) {
  std::string out;
  for (const std::string& svg : svgs) out += "<div>" + svg + "</div>\n";
  return out.empty() ? "" : "<div class=\"charts\">\n" + out + "</div>\n";
}

std::string notes(const std::string& kind, const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) out += "<li>" + escape(text) + "</li>\n";
  return out.empty() ? "" : "<div class=\"" + kind + "\"><ul>\n" + out + "</ul></div>\n";
}

std::string table(const std::vector<Cell>& head, const std::vector<std::vector<Cell>>& rows,
                  const std::vector<std::size_t>& strong) {
  std::string out = "<div class=\"scroll\"><table>\n<thead><tr>";
  for (const Cell& c : head) out += cell(c, "th");
  out += "</tr></thead>\n<tbody>\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool stressed = std::find(strong.begin(), strong.end(), i) != strong.end();
    out += stressed ? "<tr class=\"strong\">" : "<tr>";
    for (const Cell& c : rows[i]) out += cell(c, "td");
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string out = "<dl>\n";
  for (const auto& [name, value] : pairs)
    out += "<dt>" + escape(name) + "</dt><dd>" + escape(value) + "</dd>\n";
  return out + "</dl>\n";
}

std::string tiles(const std::vector<Tile>& all) {
  std::string out = "<div class=\"tiles\">\n";
  for (const Tile& tile : all)
    out +=
        "<div class=\"tile\"><b>" + escape(tile.value) + "</b><span>" + escape(tile.what) + "</span></div>\n";
  return out + "</div>\n";
}

}  // namespace rtfq::report
