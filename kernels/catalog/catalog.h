#pragma once
// The catalog: for each operator its cases (shape and data), fp64 reference, tolerance and declared cost.
// Tests, the kernel bench and the coverage listing read it. An Entry makes an Instance: one operator on one
// shape, operands allocated in guarded and poisoned buffers, expected results computed in fp64. How to add
// one: docs/architecture.md.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/catalog/mirror.h"
#include "kernels/operator.h"
#include "kernels/plugin.h"

namespace rtfq::kernels::catalog {

/// Memory of exactly `bytes` bytes between two guard zones, filled with poison (0xFF bytes: NaN in f32) at
/// the start. With guard_pages(true), pages that nobody may touch follow the zones: what reaches beyond them
/// ends the process.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes = 0);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();
  void* data() { return data_; }
  const void* data() const { return data_; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }
  /// Bytes of the guard zones.
  std::size_t guard_before() const { return before_; }
  std::size_t guard_after() const { return after_; }
  /// Nothing was written outside.
  bool guards_intact() const { return broken_guard() == 0; }
  /// Distance of the first guard byte that was written from the nearest byte of the buffer: negative before
  /// it, positive behind it (1 is the byte right after the end); 0: none was.
  std::ptrdiff_t broken_guard() const;
  void poison();

 private:
  std::size_t bytes_ = 0, before_ = 0, after_ = 0;  ///< of the guard zones
  std::byte* data_ = nullptr;
  void* mapping_ = nullptr;  ///< with guard pages
  std::size_t mapped_ = 0;
  std::byte* storage_ = nullptr;  ///< without
};

/// Whether buffers made from now on lie between guard pages; a page or two more each.
void guard_pages(bool);
/// What an address that could not be touched is to the buffers alive, for a handler of SIGSEGV: "12 bytes
/// behind the end of a buffer of 400 bytes", or an empty string. Writes to `text` and allocates nothing.
void describe_address(const void* address, char* text, std::size_t size);

/// What a kernel declares: how it rounds, what it is not meant for, how codes of 4 bits lie in their bytes;
/// the default is this project's own.
struct Contract {
  rtfq_scaling scaling = RTFQ_RECIPROCAL;
  rtfq_ties ties = RTFQ_TIES_EVEN;
  bool finite_only = false;  ///< no NaN and no infinities in the data
  bool high_nibble_first = false;
  bool operator==(const Contract&) const = default;
};

/// What an output must hold. Passes when |found - expected| <= absolute + relative*|expected|, so NaN fails
/// unless NaN is expected. Tolerances of zero mean bit-equal values (numerically: -0 equals 0).
struct Expectation {
  std::string name;  ///< "y", "dw"
  std::size_t buffer;
  rtfq_dtype type = RTFQ_F32;
  std::vector<double> values;  ///< one for each element of the buffer, also those that must stay as they were
  double absolute = 0, relative = 0;
  bool is_double = false;  ///< the buffer holds f64
  /// The other value of elements whose exact value lies so near to a tie or a border that another order of
  /// rounding gives the neighbour: it is a near-tie, not a fault. As many as `values`, the same where there
  /// is none; empty: nowhere.
  std::vector<double> neighbours{};
  double near_absolute = 0;  ///< what such elements may add to the tolerance of a sum over them
  double near_relative = 0;  ///< what another order of roundings may add to that of a value, of its magnitude
  /// Only these elements were computed: `values` has one for each of them; empty: all.
  std::vector<std::size_t> at{};
  /// Codes of 4 bits, two elements in a byte, signed where `type` is s8; RTFQ_BYTES: `type`'s own.
  rtfq_nibbles nibbles = RTFQ_BYTES;
};

/// Everything one case needs. `restore` puts operands that a launch updates back to their first state.
template <class Op>
struct Problem {
  typename Op::Shape shape{};
  typename Op::Args args{};
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<Expectation> expected;
  /// Of the implementations that round f32 operands to TF32 (kernels/tf32.h), and of no others.
  bool tf32 = false;
  const void* weights = nullptr;  ///< for pack()
  const void** packed = nullptr;  ///< where args wants the packed weights
  void** workspace = nullptr;     ///< where args wants the workspace
  std::function<void()> restore = [] {};
  /// The inputs of an element of an output, for a message: "x = 0.35, step = 0.1"; may be empty.
  std::function<std::string(const std::string& output, std::size_t index)> inputs{};
  std::vector<std::function<Table()>> tables;  ///< other storage that args points to: tables of tensors

  /// Keeps a table that args is to point to; it may grow until the problem runs.
  template <class T>
  std::shared_ptr<std::vector<T>> table() {
    auto made = std::make_shared<std::vector<T>>();
    tables.push_back([made] { return std::as_bytes(std::span<const T>(*made)); });
    return made;
  }

  /// Adds a poisoned buffer of `count` elements and returns its typed memory.
  template <class T>
  T* add(std::size_t count) {
    buffers.push_back(std::make_unique<Buffer>(count * sizeof(T)));
    return buffers.back()->template as<T>();
  }
  /// Index of the buffer added last, for an Expectation.
  std::size_t last() const { return buffers.size() - 1; }
};

struct Verdict {
  bool ok = false;
  std::string message;  ///< of a failure: output, first differing index, expected, found, the greatest error
  double worst = 0;     ///< greatest |error| / tolerance (or absolute error where the tolerance is 0)
  std::size_t near_ties = 0;   ///< elements that are their neighbour's value, where that is allowed
  std::size_t compared = 0;    ///< elements
  std::string near_message{};  ///< the first of them
  bool trespassed = false;     ///< it wrote to an input or outside its outputs
};

/// What comparisons allow. Tests of our own kernels hold them to the contract, bit for bit.
enum class Ties { strict, near };

/// A problem of any operator, ready to run.
class Instance {
 public:
  virtual ~Instance() = default;
  virtual std::vector<std::string> implementations(Backend) const = 0;
  /// Why the implementation refuses this shape, or an empty string.
  virtual std::string unsupported(Backend, const std::string& implementation) const = 0;
  /// Runs it once on poisoned outputs and compares every output, all guard zones, and that inputs stayed as
  /// they were.
  virtual Verdict verify(Backend, const std::string& implementation, Ties = Ties::strict) = 0;
  /// Packs the weights and sizes the workspace, then `launch` may be called any number of times. What was
  /// prepared for an implementation is kept: preparing it again only switches to it.
  virtual void prepare(Backend, const std::string& implementation) = 0;
  virtual void launch() = 0;
  /// The same on a stream of the backend's device.
  virtual void launch(Stream) = 0;
  virtual Cost cost() const = 0;
  /// Seconds that laying out the weights took for the current implementation; NaN: it has none to lay out.
  virtual double prepare_seconds() const = 0;
  /// Bytes of all operands, packed weights and workspace: whether a case fits a cache.
  virtual std::size_t footprint() const = 0;
  /// Of the bytes that the operator declares to move those that it reads: the rest is its outputs.
  virtual double read_share() const = 0;
  /// The shape in words and which outputs are wanted: "rows 1, groups 1, cols 1003, ...; outputs y, codes".
  virtual std::string description() const = 0;
};

struct Entry {
  std::string op;         ///< "conv2d.forward"
  std::string case_name;  ///< unique within op, says what is particular: "3x3s2_56x56_64_slice_of_80"
  bool large = false;     ///< sizes of real networks: for benchmarks; tests run the small ones
  std::function<std::unique_ptr<Instance>()> make;
  /// The same for a quantizer that rounds otherwise; null where nothing is rounded.
  std::function<std::unique_ptr<Instance>(const Contract&)> make_for{};

  std::unique_ptr<Instance> instance(const Contract& contract) const {
    return make_for ? make_for(contract) : make();
  }
};

/// All families, in a fixed order. Families register here by name, one line each in catalog.cpp.
const std::vector<Entry>& entries();

std::vector<Entry> conv2d_entries();
std::vector<Entry> convstatistics_entries();
std::vector<Entry> linear_entries();
std::vector<Entry> pool_entries();
std::vector<Entry> image_entries();
std::vector<Entry> fakequant_entries();
std::vector<Entry> batchnorm_entries();
std::vector<Entry> normquant_entries();
std::vector<Entry> elementwise_entries();
std::vector<Entry> loss_entries();
std::vector<Entry> optimizer_entries();
std::vector<Entry> codes_entries();
std::vector<Entry> running_entries();
std::vector<Entry> moments_entries();
std::vector<Entry> answers_entries();
std::vector<Entry> int4_entries();

/// Seeded data. Small integers times powers of two make every product and sum exact in f32, so that
/// references are met with tolerance zero whatever the order of the sums; random floats come second.
void fill_exact(float* x, std::size_t count, uint64_t seed, int magnitude = 4, float scale = 1.0f);
void fill_normal(float* x, std::size_t count, uint64_t seed, float mean = 0.0f, float deviation = 1.0f);

/// Compares one output with its expectation.
Verdict compare(const Expectation&, const Buffer&, Ties = Ties::strict,
                const std::function<std::string(const std::string&, std::size_t)>& inputs = {});

}  // namespace rtfq::kernels::catalog
