// A budget that changes every few images: whether latency follows it, and what a switch costs.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numbers>

#include "engine/safetensors.h"
#include "tools/command.h"
#include "tools/packed_file.h"
#include "tools/table.h"
#include "training/report/chart.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string file, plot;
  int every = 4, changes = 60, threads = 0;
};

struct Inference {
  std::size_t subnet;
  bool first;  ///< after a switch
  double milliseconds;
};

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double median(std::vector<double> values) {
  return spread_of(std::move(values)).median;
}

int run_switching(const Options& options) {
  const auto loaded = deploy::LoadedModel::from_file(options.file);
  const auto& subnets = loaded->model().subnets();
  deploy::Session session(loaded, {options.threads, 1, {}});
  double least = INFINITY, most = 0;
  int64_t floats = 0;
  for (const auto& entry : subnets) {
    least = std::min(least, static_cast<double>(entry.cost.bitops));
    most = std::max(most, static_cast<double>(entry.cost.bitops));
    floats = std::max(floats, int64_t{entry.subnet.resolution} * entry.subnet.resolution *
                                  loaded->model().preprocessing().channels);
  }
  const std::vector<float> image(static_cast<std::size_t>(floats), 0.25f);
  std::vector<float> logits(loaded->model().classes().size());
  std::vector<double> switches;
  std::vector<Inference> inferences;
  report::Series budget{.name = "budget, share of the largest subnet's BitOPs, %"},
      latency{.name = "latency, % of the slowest"};
  for (int change = 0; change < options.changes; ++change) {
    // The budget swings between the cheapest and the dearest subnet, on a log scale, five times.
    const double phase = std::cos(10 * std::numbers::pi * change / options.changes);
    deploy::Limits limits;
    limits.bitops = 1.0001 * std::exp(std::lerp(std::log(least), std::log(most), (1 + phase) / 2));
    const auto chosen = deploy::select(*loaded, limits);
    const double start = now_ms();
    session.switch_to(*chosen);
    switches.push_back(now_ms() - start);
    for (int i = 0; i < options.every; ++i) {
      const double begin = now_ms();
      session.run(image.data(), 1, logits.data());
      inferences.push_back({*chosen, i == 0, now_ms() - begin});
      budget.points.push_back({static_cast<double>(inferences.size()), 100 * *limits.bitops / most});
    }
  }
  std::vector<double> first, later;
  double slowest = 0;
  for (const Inference& i : inferences) (i.first ? first : later).push_back(i.milliseconds);
  std::vector<std::vector<double>> by_subnet(subnets.size());
  for (const Inference& i : inferences) by_subnet[i.subnet].push_back(i.milliseconds);
  std::vector<std::vector<std::string>> rows{{"subnet", "BitOPs", "images", "median ms"}};
  for (std::size_t i = 0; i < subnets.size(); ++i)
    if (!by_subnet[i].empty()) {
      char text[32];
      std::snprintf(text, sizeof text, "%.3f", median(by_subnet[i]));
      slowest = std::max(slowest, median(by_subnet[i]));
      rows.push_back({id(subnets[i].subnet), quantity(static_cast<double>(subnets[i].cost.bitops)),
                      std::to_string(by_subnet[i].size()), text});
    }
  std::fputs(table(rows).c_str(), stdout);
  const double cost = median(switches), inference = median(later);
  std::printf("a switch takes %.5f ms, %.3f %% of an inference (%.3f ms); the first one after it %.3f ms\n",
              cost, 100 * cost / inference, inference, median(first));
  std::printf("resident: file %sB, prepared weights %sB, activations %sB\n",
              quantity(static_cast<double>(loaded->file_bytes())).c_str(),
              quantity(static_cast<double>(loaded->weights().bytes())).c_str(),
              quantity(static_cast<double>(session.arena_bytes())).c_str());
  if (!options.plot.empty()) {
    for (std::size_t i = 0; i < inferences.size(); ++i)
      latency.points.push_back({static_cast<double>(i + 1), 100 * inferences[i].milliseconds / slowest});
    report::ChartOptions chart{.title = "Latency follows the budget", .x_label = "image", .y_label = "%"};
    chart.y_low = 0;
    chart.form = report::Form::stand_alone;
    write_file_atomically(options.plot, report::line_chart({budget, latency}, chart));
  }
  return done;
}

}  // namespace

void add_switch(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("switch", "what following a changing budget costs, from a packed bank");
  command->add_option("file", options->file, "what `rtfq pack --bank` wrote")->required()->type_name("FILE");
  command->add_option("--every", options->every, "images between two changes; without it 4")
      ->type_name("IMAGES")
      ->check(CLI::Range(2, 100000));
  command->add_option("--changes", options->changes, "of the budget; without it 60")
      ->type_name("COUNT")
      ->check(CLI::Range(2, 100000));
  command->add_option("--threads", options->threads, "that compute; without it all")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 1024));
  command->add_option("--plot", options->plot, "draws budget and latency of every image")
      ->type_name("FILE.svg");
  command->footer(
      "The budget swings between the cheapest and the dearest subnet; each change selects the best subnet "
      "within it "
      "and\n"
      "switches to it. All subnets are made ready before.\n"
      "\n"
      "Example:\n"
      "  rtfq switch m2u.rtfq --every 4 --plot switching.svg");
  command->callback([&action, options] { action = [options] { return run_switching(*options); }; });
}

}  // namespace rtfq::cli
