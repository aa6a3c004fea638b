// Softmax and losses. Their tensors are tiny beside the network's (at most some hundred rows and classes), so
// each launch is one block of 256 threads: no workspace, sums in a fixed order, sums and exponentials in
// double as on the CPU.
//
// A warp takes a row at a time, a lane every 32nd class. What is summed over rows for each class (the mean
// prediction, class confusion) goes through normalizers of 32 rows in shared memory, a thread a class. Floor:
// a few bytes a logit; bound by the latency of one multiprocessor, which is why softmax, wanted for larger
// batches, gives every row a warp of its own instead. Limits: f32 logits. Not yet timed on a GPU.
#include "kernels/cuda/reduce.h"
#include "kernels/loss.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256, warps = threads / 32, chunk = 32;
constexpr unsigned all_lanes = 0xffffffffu;

__device__ __forceinline__ int lane() {
  return static_cast<int>(threadIdx.x % 32);
}
__device__ __forceinline__ int warp() {
  return static_cast<int>(threadIdx.x / 32);
}

__device__ __forceinline__ double warp_sum(double v) {
  for (int offset = 16; offset; offset /= 2) v += __shfl_xor_sync(all_lanes, v, offset);
  return v;
}

/// log softmax(z/temperature)[j] = (z[j] - top)/temperature - log_sum.
struct LogSoftmax {
  const float* z;
  double top, inverse_temperature, log_sum;

  __device__ __forceinline__ double scaled(int64_t j) const {
    return (static_cast<double>(z[j]) - top) * inverse_temperature;
  }
  __device__ __forceinline__ double log_p(int64_t j) const { return scaled(j) - log_sum; }
  __device__ __forceinline__ double p(int64_t j) const { return exp(log_p(j)); }
};

/// For all lanes of a warp together.
__device__ __forceinline__ LogSoftmax log_softmax(const float* z, int64_t k, double temperature) {
  float top = z[0];
  for (int64_t j = lane(); j < k; j += 32) top = z[j] > top ? z[j] : top;
  for (int offset = 16; offset; offset /= 2) {
    const float other = __shfl_xor_sync(all_lanes, top, offset);
    top = other > top ? other : top;
  }
  LogSoftmax row{z, static_cast<double>(top), 1.0 / temperature, 0};
  double sum = 0;
  for (int64_t j = lane(); j < k; j += 32) sum += exp(row.scaled(j));
  row.log_sum = log(warp_sum(sum));
  return row;
}

/// Calls store(j, sum_i w_i p_ij, sum_i w_i p_ij^2) for every class, by one thread each; `weights` null:
/// ones.
template <class Store>
__device__ __forceinline__ void class_sums(LogitsShape s, const float* z, double temperature,
                                           const double* weights, const Store& store) {
  SIMT_SHARED(double, top, [chunk]);
  SIMT_SHARED(double, log_sum, [chunk]);
  for (int64_t base = 0; base < s.k; base += threads) {
    const int64_t j = base + threadIdx.x;
    double total = 0, squares = 0;
    for (int64_t first = 0; first < s.n; first += chunk) {
      const int rows = static_cast<int>(s.n - first < chunk ? s.n - first : chunk);
      for (int r = warp(); r < rows; r += warps) {
        const LogSoftmax row = log_softmax(z + (first + r) * s.k, s.k, temperature);
        if (lane() == 0) {
          top[r] = row.top;
          log_sum[r] = row.log_sum;
        }
      }
      __syncthreads();  // normalizers are there
      for (int r = 0; r < rows && j < s.k; ++r) {
        const LogSoftmax row{z + (first + r) * s.k, top[r], 1.0 / temperature, log_sum[r]};
        const double p = row.p(j), w = weights ? weights[first + r] : 1.0;
        total += w * p;
        squares += w * p * p;
      }
      __syncthreads();  // normalizers have been read
    }
    if (j < s.k) store(j, total, squares);
  }
}

/// A block is one warp, and takes one row.
__global__ void __launch_bounds__(32) softmax(LogitsShape s, SoftmaxArgs a) {
  const int64_t i = blockIdx.x;
  const LogSoftmax row = log_softmax(a.z + i * s.k, s.k, static_cast<double>(a.temperature));
  for (int64_t j = lane(); j < s.k; j += 32) a.probabilities[i * s.k + j] = static_cast<float>(row.p(j));
}

__global__ void __launch_bounds__(threads) cross_entropy(LogitsShape s, CrossEntropyArgs a) {
  const double smoothing = static_cast<double>(a.smoothing), n = static_cast<double>(s.n);
  const double uniform = smoothing / static_cast<double>(s.k);
  double loss = 0;
  for (int64_t i = warp(); i < s.n; i += warps) {
    const double mask = a.mask ? static_cast<double>(a.mask[i]) : 1.0;
    const LogSoftmax row = log_softmax(a.z + i * s.k, s.k, 1.0);
    const double factor = static_cast<double>(a.weight) * mask / n;
    for (int64_t j = lane(); j < s.k; j += 32) {
      const double target = uniform + (j == a.labels[i] ? 1.0 - smoothing : 0.0);
      if (target != 0) loss -= mask * target * row.log_p(j);
      a.dz[i * s.k + j] += static_cast<float>(factor * (row.p(j) - target));
    }
  }
  loss = block_sum<threads>(loss);
  if (threadIdx.x == 0) *a.loss = static_cast<float>(loss / n);
}

__global__ void __launch_bounds__(threads) soft_cross_entropy(LogitsShape s, SoftCrossEntropyArgs a) {
  const double n = static_cast<double>(s.n), temperature = static_cast<double>(a.temperature);
  double loss = 0;
  for (int64_t i = warp(); i < s.n; i += warps) {
    const LogSoftmax row = log_softmax(a.z + i * s.k, s.k, temperature);
    const float* targets = a.targets + i * s.k;
    double mass = 0;  // 1 up to rounding
    for (int64_t j = lane(); j < s.k; j += 32) {
      const double target = static_cast<double>(targets[j]);
      mass += target;
      if (target != 0) loss -= target * row.log_p(j);
    }
    mass = warp_sum(mass);
    const double factor = static_cast<double>(a.weight) / (n * temperature);
    for (int64_t j = lane(); j < s.k; j += 32)
      a.dz[i * s.k + j] += static_cast<float>(factor * (mass * row.p(j) - static_cast<double>(targets[j])));
  }
  loss = block_sum<threads>(loss);
  if (threadIdx.x == 0) *a.loss = static_cast<float>(loss / n);
}

__global__ void __launch_bounds__(threads) mean_prediction(LogitsShape s, MeanPredictionArgs a) {
  class_sums(s, a.z, 1.0, nullptr, [&](int64_t j, double total, double) {
    a.mean[j] = static_cast<float>(total / static_cast<double>(s.n));
  });
}

/// loss = 1/n sum_ij -p log(p + eps) + sum_j m (log(m + eps) - log prior). With q_ij = dloss/dp_ij * n, where
/// m_j changes by 1/n of p_ij, dz_ij = p_ij (q_ij - sum_l p_il q_il) / n.
__global__ void __launch_bounds__(threads)
    information_maximization(LogitsShape s, InformationMaximizationArgs a) {
  const double floor = 1e-8, n = static_cast<double>(s.n);
  const auto slope = [=](double p) { return log(p + floor) + p / (p + floor); };  // of p log(p + eps)
  const auto log_prior = [=](int64_t j) {
    return a.prior ? log(static_cast<double>(a.prior[j]) + floor) : 0.0;
  };
  const auto q = [=](int64_t j, double p) {
    return slope(static_cast<double>(a.mean[j])) - log_prior(j) - slope(p);
  };
  const double factor = static_cast<double>(a.weight) / n;
  double entropies = 0;
  for (int64_t i = warp(); i < s.n; i += warps) {
    const LogSoftmax row = log_softmax(a.z + i * s.k, s.k, 1.0);
    double average = 0;
    for (int64_t j = lane(); j < s.k; j += 32) {
      const double p = row.p(j);
      entropies -= p * log(p + floor);
      average += p * q(j, p);
    }
    average = warp_sum(average);
    for (int64_t j = lane(); j < s.k; j += 32) {
      const double p = row.p(j);
      a.dz[i * s.k + j] += static_cast<float>(factor * p * (q(j, p) - average));
    }
  }
  double loss = entropies / n;
  for (int64_t j = threadIdx.x; j < s.k; j += threads) {
    const double m = static_cast<double>(a.mean[j]);
    loss += m * (log(m + floor) - log_prior(j));
  }
  loss = block_sum<threads>(loss);
  if (threadIdx.x == 0) *a.loss = static_cast<float>(loss);
}

std::size_t class_confusion_workspace(const LogitsShape& s) {
  return static_cast<std::size_t>(s.n + 2 * s.k) * sizeof(double);
}

/// With D_j = sum_i w_i p_ij^2: dloss/dp_ij = -w_i/k (2 p_ij / S_j - D_j / S_j^2).
__global__ void __launch_bounds__(threads) class_confusion(LogitsShape s, ClassConfusionArgs a) {
  const double temperature = static_cast<double>(a.temperature), classes = static_cast<double>(s.k);
  double* const weights = static_cast<double*>(a.workspace);
  double* const total = weights + s.n;   // S
  double* const diagonal = total + s.k;  // D
  for (int64_t i = warp(); i < s.n; i += warps) {
    const LogSoftmax row = log_softmax(a.z + i * s.k, s.k, temperature);
    double entropy = 0;
    for (int64_t j = lane(); j < s.k; j += 32) entropy -= row.p(j) * row.log_p(j);
    entropy = warp_sum(entropy);
    if (lane() == 0) weights[i] = 1 + exp(-entropy);
  }
  __syncthreads();        // weights are there
  double weight_sum = 0;  // every warp adds all of them, in one order
  for (int64_t i = lane(); i < s.n; i += 32) weight_sum += weights[i];
  weight_sum = warp_sum(weight_sum);
  __syncthreads();  // weights have been added
  for (int64_t i = threadIdx.x; i < s.n; i += threads) weights[i] *= static_cast<double>(s.n) / weight_sum;
  __syncthreads();  // weights are normalized
  class_sums(s, a.z, temperature, weights, [=](int64_t j, double sum, double squares) {
    total[j] = sum;
    diagonal[j] = squares;
  });
  __syncthreads();  // class sums are there
  const auto slope = [=](int64_t i, int64_t j, double p) {
    if (!(total[j] > 0)) return 0.0;  // a class that no row gives any probability confuses nothing
    return -weights[i] / classes * (2 * p / total[j] - diagonal[j] / (total[j] * total[j]));
  };
  for (int64_t i = warp(); i < s.n; i += warps) {
    const LogSoftmax row = log_softmax(a.z + i * s.k, s.k, temperature);
    double average = 0;
    for (int64_t j = lane(); j < s.k; j += 32) average += row.p(j) * slope(i, j, row.p(j));
    average = warp_sum(average);
    const double factor = static_cast<double>(a.weight) / temperature;
    for (int64_t j = lane(); j < s.k; j += 32)
      a.dz[i * s.k + j] += static_cast<float>(factor * row.p(j) * (slope(i, j, row.p(j)) - average));
  }
  double on_diagonal = 0;
  for (int64_t j = threadIdx.x; j < s.k; j += threads)
    on_diagonal += total[j] > 0 ? diagonal[j] / total[j] : 1.0;
  on_diagonal = block_sum<threads>(on_diagonal);
  if (threadIdx.x == 0) *a.loss = static_cast<float>(1 - on_diagonal / classes);
}

void launch_softmax(const LogitsShape& s, const SoftmaxArgs& a, Stream stream) {
  simt::launch(softmax, dim3(static_cast<unsigned>(s.n)), dim3(32), 0, stream_of(stream), s, a);
}

/// Losses: one block.
template <auto kernel, class Args>
void launch_one(const LogitsShape& s, const Args& a, Stream stream) {
  simt::launch(kernel, dim3(1), dim3(threads), 0, stream_of(stream), s, a);
}

const char* softmax_unsupported(const LogitsShape& s) {
  return s.n <= INT32_MAX ? nullptr : "takes fewer than 2^31 rows";
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const Softmax::Impl> Softmax::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::softmax_unsupported, RTFQ_GPU::launch_softmax}};
  return list;
}
std::span<const CrossEntropy::Impl> CrossEntropy::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"naive", supports_all<Shape>, RTFQ_GPU::launch_one<RTFQ_GPU::cross_entropy, CrossEntropyArgs>}};
  return list;
}
std::span<const SoftCrossEntropy::Impl> SoftCrossEntropy::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>,
                                   RTFQ_GPU::launch_one<RTFQ_GPU::soft_cross_entropy, SoftCrossEntropyArgs>}};
  return list;
}
std::span<const MeanPrediction::Impl> MeanPrediction::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"naive", supports_all<Shape>, RTFQ_GPU::launch_one<RTFQ_GPU::mean_prediction, MeanPredictionArgs>}};
  return list;
}
std::span<const InformationMaximization::Impl> InformationMaximization::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"naive", supports_all<Shape>,
       RTFQ_GPU::launch_one<RTFQ_GPU::information_maximization, InformationMaximizationArgs>}};
  return list;
}
std::span<const ClassConfusion::Impl> ClassConfusion::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>,
                                   RTFQ_GPU::launch_one<RTFQ_GPU::class_confusion, ClassConfusionArgs>,
                                   RTFQ_GPU::class_confusion_workspace}};
  return list;
}

}  // namespace rtfq::kernels
