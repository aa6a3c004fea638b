#pragma once
// One measurement that is to be made, and what came of it; both travel between the lab and its worker
// processes, and into result files, as JSON.

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/operator.h"

namespace rtfq::lab {

using json = nlohmann::json;

/// In an implementation's place: the first of this project's own that takes the shape on this machine, which
/// the worker finds out.
inline const std::string own_choice = "ours";

/// Whether an operator has quantizers, whose bits are asked for.
bool quantizes(const std::string& op);

/// An operator on a shape by an implementation on a device.
struct Item {
  std::string op;              ///< "fakequant.forward"
  std::string implementation;  ///< "avx2", "plugin:mine", own_choice
  std::string device = "cpu";  ///< cpu, simt, cuda or cuda:N
  std::string catalog_case;    ///< of the catalog; empty: `dims`
  std::map<std::string, int64_t> dims{};
  std::string dtype = "f32";
  int bits = 0;  ///< of quantizers; 0: the operator has none, or the catalog's case says
  bool is_signed = false;
  std::string data = "normal";  ///< normal, zeros, or the run whose values are used
  std::string where{};  ///< places in networks that have this shape: "resnet50@224xb32 layer1.0.conv1"

  bool quantizer() const { return quantizes(op); }
  /// The type whose peak bounds its arithmetic: "f32", "tf32", "bf16", or "u8" for codes.
  std::string arithmetic() const;
  /// "n=32,hw=3136,c=64" or the catalog's name, with bits and type: what tells cases of an operator apart.
  std::string case_text() const;
  /// "fakequant.forward/count=6422528,u4,f32/avx2/cpu".
  std::string name() const;
};

void to_json(json&, const Item&);
void from_json(const json&, Item&);

/// "n=32,hw=3136,residual=codes" as text, and back; throws std::invalid_argument.
std::string dims_as_text(const std::map<std::string, int64_t>&);
std::map<std::string, int64_t> parse_dims(const std::string&);

/// What is known of an item after it ran.
enum class Outcome {
  exact,  ///< every element as expected: equal, or within the case's stated tolerance where sums are rounded
  near_tie,  ///< as expected but for elements next to a tie or border, which are the neighbouring value
  wrong,
  crashed,
  hung,
  failed,   ///< it said so itself
  skipped,  ///< refused the shape, or the device is not there
};
const char* to_string(Outcome);
Outcome parse_outcome(const std::string&);
/// Whether its time means anything.
inline bool usable(Outcome o) {
  return o == Outcome::exact || o == Outcome::near_tie;
}

struct Row {
  Item item;
  Outcome outcome = Outcome::skipped;
  std::string message{};  ///< of what is not exact
  std::string repeat{};   ///< the command that repeats it
  std::string rounding{};
  std::size_t near_ties = 0, compared = 0;
  std::vector<double> seconds{};     ///< one a sample, per launch; empty: not timed
  std::vector<double> end_to_end{};  ///< on GPUs: of the host, from the call until the device is done
  double cpu_seconds = 0;            ///< of a launch, all threads of this process
  int64_t iterations = 0;            ///< launches in a sample
  double prepare_seconds = -1;       ///< laying out weights; negative: there is nothing to lay out
  kernels::Cost cost{};              ///< as the operator declares it
  double read_share = 0.5;           ///< as kernels::catalog::Instance says
  double footprint = 0;              ///< bytes of all operands
  /// Of operands beyond the caches of the CPU: memory's rate beside each sample, bytes a second.
  std::vector<double> memory{};
  bool noisy = false;  ///< the stated noise was not reached
  std::map<std::string, double> counters{};

  double median() const;
};

void to_json(json&, const Row&);
void from_json(const json&, Row&);

/// What --verify-small verifies of a shape.
inline constexpr int64_t small_images = 2, small_elements = int64_t{1} << 20;

/// How measurements are made.
struct Settings {
  double sample_seconds = 0.03;  ///< a sample lasts at least this
  int samples = 11;              ///< at least
  double noise = 0.02;           ///< half width of the median's 99 % interval that is enough
  double seconds = 4;            ///< that one item may be timed
  bool verify_only = false, cold = false, counters = true;
  /// Shapes of one's own are verified with at most so many images or elements and timed with all; 0: verified
  /// whole.
  int64_t verify_images = 0, verify_elements = 0;
  bool warm = false;    ///< on GPUs, whose level-two cache is emptied otherwise
  double limit = 20;    ///< seconds a launch may take before it is taken for hanging
  int threads = 0;      ///< of OpenMP; 0: as many as there are
  int simt_seeds = 20;  ///< thread orders under which kernels of the executor are verified
};
void to_json(json&, const Settings&);
void from_json(const json&, Settings&);

}  // namespace rtfq::lab
