#include <cstdio>
#include <random>

#include "engine/atomic_file.h"
#include "kernels/runtime/device.h"
#include "tools/bench/command.h"
#include "tools/bench/results.h"
#include "tools/bench/verdict.h"
#include "training/environment.h"

namespace rtfq::lab {
namespace {

struct Options {
  Selection selection;
  Settings settings;
  std::string a = "ours", b, json_file;
  int pairs = 40, repeat = 1;
  double confidence = 0.99;
};

/// The one offer that a word means for an operator.
Offered side(const std::string& word, const std::string& op, const std::string& device,
             const std::vector<Offered>& known) {
  const auto found = matching(word, op, device, known);
  if (found.size() == 1) return found.front();
  std::string list;
  for (const Offered& one : known)
    if (one.op == op && one.device == device) list += (list.empty() ? "" : ", ") + spoken_name(one);
  // The names to choose from stand in the list: plugin:FILE:NAME where a file has several.
  throw cli::UsageError("[compare] '" + word + "' means " + std::to_string(found.size()) +
                        " implementations of " + op + " on " + device + "; there are " + list);
}

std::string sentence(const Verdict& v, const std::string& a, const std::string& b) {
  char text[200];
  if (v.no_difference())
    std::snprintf(text, sizeof text, "no difference");
  else
    std::snprintf(text, sizeof text, "%s is faster, %.3f times", v.ratio > 1 ? b.c_str() : a.c_str(),
                  v.ratio > 1 ? v.ratio : 1 / v.ratio);
  return text;
}

int compare_all(Options& o) {
  if (o.settings.threads) {
    kernels::runtime::set_threads(o.settings.threads);
    ::setenv("OMP_NUM_THREADS", std::to_string(o.settings.threads).c_str(), 1);
  }
  o.settings.samples = 1;
  Selection both = o.selection;
  both.implementations = {o.a, o.b};
  const auto known = cli::as_usage([&] { return offers(plugin_files(both)); });
  Selection shapes = o.selection;
  shapes.implementations = {"all"};
  std::vector<Item> items;
  for (Item item : cli::as_usage([&] { return items_of(shapes, known); })) {
    item.implementation.clear();
    if (items.empty() || items.back().name() != item.name()) items.push_back(item);
  }
  json report = json::array();
  std::random_device entropy;
  int status = cli::done;
  for (const Item& item : items) {
    Item a = item, b = item;
    const std::string backend = kernels::to_string(kernels::parse_device(item.device).backend);
    const Offered offer_a = side(o.a, item.op, backend, known), offer_b = side(o.b, item.op, backend, known);
    a.implementation = offer_a.implementation;
    b.implementation = offer_b.implementation;
    for (int i = 0; i < o.repeat; ++i) {
      const json answer = compare({{"request", "compare"},
                                   {"plugins", files_of(known)},
                                   {"a", a},
                                   {"b", b},
                                   {"settings", o.settings},
                                   {"pairs", o.pairs},
                                   {"seed", entropy()},
                                   {"verified", i > 0}});
      const Row row_a = answer.at("a"), row_b = answer.at("b");
      std::vector<Pair> pairs;
      for (const json& pair : answer.at("pairs")) pairs.push_back({pair.at(0), pair.at(1)});
      if (pairs.empty()) {
        for (const Row* row : {&row_a, &row_b})
          if (!usable(row->outcome))
            note(row->item.name() + " is not compared: " + to_string(row->outcome) + ": " + row->message);
        status = cli::failed;
        break;
      }
      const Verdict v = judge(pairs, o.confidence);
      std::printf("%s %s: %s %s, %s %s; ratio %.4f, %g %% interval %.4f to %.4f (%zu pairs): %s\n",
                  item.op.c_str(), item.case_text().c_str(), row_a.item.implementation.c_str(),
                  time_text(row_a.median()).c_str(), row_b.item.implementation.c_str(),
                  time_text(row_b.median()).c_str(), v.ratio, 100 * o.confidence, v.interval.low,
                  v.interval.high, v.pairs,
                  sentence(v, row_a.item.implementation, row_b.item.implementation).c_str());
      std::fflush(stdout);
      for (const Row* row : {&row_a, &row_b})
        if (i == 0 && row->outcome == Outcome::near_tie)
          note(row->item.implementation + ": " + std::to_string(row->near_ties) + " near-ties; " +
               row->message);
      report.push_back({{"a", row_a},
                        {"b", row_b},
                        {"ratio", v.ratio},
                        {"low", v.interval.low},
                        {"high", v.interval.high},
                        {"confidence", o.confidence},
                        {"no_difference", v.no_difference()},
                        {"pairs", answer.at("pairs")}});
    }
  }
  if (!o.json_file.empty())
    write_file_atomically(
        o.json_file,
        json{{"environment", environment(o.settings.threads)}, {"comparisons", report}}.dump(1) + "\n");
  return status;
}

}  // namespace

void add_compare(CLI::App& app, cli::Action& action) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("compare", "two implementations, alternating A B A B");
  command->add_option("--op", o->selection.ops, "operators: names or patterns")->delimiter(',')->required();
  command->add_option("--a", o->a, "ours, a name, plugin:FILE or plugin:FILE:NAME (default: ours)");
  command->add_option("--b", o->b, "ours, a name, plugin:FILE or plugin:FILE:NAME")->required();
  command->add_option("--device", o->selection.devices, "cpu, simt, cuda or cuda:N (default: cpu)")
      ->delimiter(',');
  add_shape_options(*command, o->selection);
  add_setting_options(*command, o->settings);
  command->add_option("--pairs", o->pairs, "measurements of each (default 40)")->check(CLI::Range(8, 100000));
  command->add_option("--sample-seconds", o->settings.sample_seconds, "length of a measurement")
      ->check(CLI::PositiveNumber);
  command->add_option("--confidence", o->confidence, "of the interval (default 0.99)")
      ->check(CLI::Range(0.5, 0.9999));
  command->add_option("--repeat", o->repeat, "the whole comparison, each in a process of its own")
      ->check(CLI::Range(1, 100000));
  command->add_option("--json", o->json_file, "all of it, every pair too")->type_name("FILE");
  command->footer(
      "The ratio is the median of a's time over b's; above 1, b is faster. An interval that holds 1 is no "
      "difference.\n\n"
      "Examples:\n"
      "  rtfq-bench compare --op fakequant.forward --a ours --b plugin:./my.so --shape count=6422528\n"
      "  rtfq-bench compare --op conv2d.forward --a onednn --b naive --shape "
      "n=4,h=14,w=14,c=64,k=64,filter=3");
  command->callback([&action, o] { action = [o] { return compare_all(*o); }; });
}

}  // namespace rtfq::lab
