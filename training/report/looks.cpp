// What a probe of the trained network found: codes and pictures.
#include <algorithm>

#include "training/report/chart.h"
#include "training/report/page.h"
#include "training/report/report.h"
#include "training/report/text.h"

namespace rtfq::report {
namespace {

std::string base64(const std::vector<uint8_t>& bytes) {
  static constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    uint32_t word = 0;
    for (std::size_t k = 0; k < 3; ++k) word = word << 8 | (k < count ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += k <= count ? digits[word >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string class_name(const Probe& probe, int index) {
  return index >= 0 && static_cast<std::size_t>(index) < probe.classes.size()
             ? probe.classes[static_cast<std::size_t>(index)]
             : std::to_string(index);
}

std::string gallery(const Probe& probe, const std::vector<Picture>& pictures) {
  std::string out;
  for (const Picture& p : pictures) {
    const std::string said =
        "says " + class_name(probe, p.predicted) + ", " + fixed(100 * p.probability, 0) + " %";
    const std::string truth = p.label < 0 ? "" : "is " + class_name(probe, p.label);
    out += "<figure><img alt=\"" + escape(p.path) + "\" title=\"" + escape(p.path) +
           "\" src=\"data:image/png;base64," + base64(data::encode_png(p.image)) + "\"><figcaption><b>" +
           escape(said) + "</b>" + (truth.empty() ? "" : "<br>" + escape(truth)) + "</figcaption></figure>\n";
  }
  return "<div class=\"pictures\">\n" + out + "</div>\n";
}

std::string share(double part, double whole) {
  return whole > 0 ? fixed(100 * part / whole, 1) : "–";
}

std::string codes_table(const SubnetCodes& of_subnet) {
  std::vector<std::vector<Cell>> rows;
  std::vector<std::size_t> dead;
  for (const CodeCounts& c : of_subnet.quantizers) {
    if (c.dead()) dead.push_back(rows.size());
    const double total = c.total();
    const std::string used = std::to_string(c.used()) + " of " + std::to_string(c.counts.size());
    const auto zero = static_cast<std::size_t>(-c.lowest);
    const std::string range =
        std::to_string(c.lowest) + " to " + std::to_string(c.lowest + static_cast<int>(c.counts.size()) - 1);
    rows.push_back({{c.name},
                    {histogram_strip(c.counts, c.name + ": codes " + range), false, true},
                    {c.weight ? "weights" : "activations"},
                    {std::to_string(c.bits), true},
                    {c.dead() ? used + ", dead" : used, true},
                    {share(c.counts[zero], total), true},
                    {c.lowest == 0 ? "–" : share(c.counts.front(), total), true},
                    {share(c.counts.back(), total), true}});
  }
  return table({{"quantizer"},
                {"how often each code occurs"},
                {"of"},
                {"bits", true},
                {"codes used", true},
                {"zero, %", true},
                {"lowest, %", true},
                {"highest, %", true}},
               rows, dead);
}

}  // namespace

std::string codes_section(const Probe& probe) {
  if (probe.codes.empty()) return "";
  std::string out = notes("warning", probe.warnings());
  out += paragraph("On " + std::to_string(probe.images) + " images of " + probe.origin +
                   ". A histogram goes from a quantizer's lowest to its highest code; counts at its ends are "
                   "values that were clipped, "
                   "and a bin far above all others, most often that of zero, is cut off. A quantizer is dead "
                   "when all of its codes are equal.");
  for (std::size_t i = 0; i < probe.codes.size(); ++i)
    out += folded("Codes in " + id(probe.codes[i].subnet) + " (" +
                      std::to_string(probe.codes[i].quantizers.size()) + " quantizers)",
                  codes_table(probe.codes[i]), i == 0);
  return out;
}

std::string pictures_section(const Probe& probe) {
  const std::string sample = std::to_string(probe.images) + " images of " + probe.origin;
  std::string out;
  if (!probe.labelled) {
    out = paragraph(sample + " have no labels: shown is how sure " + id(probe.shown) + " is.");
    return out + "<h3>Least sure</h3>\n" + gallery(probe, probe.worse) + "<h3>Surest</h3>\n" +
           gallery(probe, probe.better);
  }
  out = paragraph(id(probe.shown) + " names " + fixed(probe.accuracy, 1) + " % of " + sample + " rightly.");
  if (probe.worse.empty())
    out += paragraph("None of them is wrong.");
  else
    out += "<h3>Wrong, the surest first</h3>\n" + gallery(probe, probe.worse);
  return out + "<h3>Right</h3>\n" + gallery(probe, probe.better);
}

}  // namespace rtfq::report
