#include "tools/deploy/session.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <stdexcept>

#include "data/transform.h"
#include "engine/ops/ops.h"
#include "kernels/runtime/device.h"

namespace rtfq::deploy {
namespace {

/// While it lives, launches of the calling thread use so many threads.
class UsedThreads {
 public:
  explicit UsedThreads(int count) : before_(kernels::runtime::threads()) {
    if (count > 0) kernels::runtime::set_threads(count);
  }
  ~UsedThreads() { kernels::runtime::set_threads(before_); }
  UsedThreads(const UsedThreads&) = delete;
  UsedThreads& operator=(const UsedThreads&) = delete;

 private:
  int before_;
};

}  // namespace

void prepare_image(const packed::Preprocessing& p, const data::Image& image, int resolution, float* to) {
  if (image.channels != p.channels)
    throw std::invalid_argument("[deploy] the model takes images of " + std::to_string(p.channels) +
                                " channels, got " + std::to_string(image.channels));
  data::Augmentation how;
  how.resize = p.resize;
  how.squash = p.squash;
  how.bicubic = p.bicubic;
  const data::Image crop = data::prepare(image, how, p.crop);
  const Tensor normalized =
      ops::normalize({}, crop.pixels, {1, crop.height, crop.width, crop.channels}, p.mean, p.deviation);
  const Tensor sized = ops::resize({}, normalized, resolution, resolution);
  std::memcpy(to, sized.data(), sized.bytes());
}

Session::Session(std::shared_ptr<LoadedModel> loaded, SessionOptions options)
    : loaded_(std::move(loaded)),
      threads_(options.threads),
      batch_(options.batch),
      classes_(static_cast<int64_t>(loaded_->model().classes().size())) {
  const packed::Model& model = loaded_->model();
  if (threads_ < 0 || threads_ > 1024)
    throw std::invalid_argument("[deploy] expected 0 to 1024 threads, got " + std::to_string(threads_));
  if (options.subnets.empty())
    for (std::size_t i = 0; i < model.subnets().size(); ++i) options.subnets.push_back(i);
  const UsedThreads threads(threads_);
  share_out();
  programs_.resize(model.subnets().size());
  std::size_t floats = 0;
  for (const std::size_t subnet : options.subnets) {
    auto program = std::make_unique<Program>(model, subnet, pass_, loaded_->weights(),
                                             at_a_time_ > 1 ? 1 : 0);  // checks both numbers
    arena_bytes_ = std::max(arena_bytes_, program->arena_bytes());
    if (!current_) current_ = program.get();
    if (!programs_[subnet]) programs_[subnet] = std::move(program);
    const auto r = static_cast<std::size_t>(model.subnets()[subnet].subnet.resolution);
    floats = std::max(floats, static_cast<std::size_t>(batch_) * r * r *
                                  static_cast<std::size_t>(model.preprocessing().channels));
  }
  for (int i = 0; i < at_a_time_; ++i)
    arenas_.emplace_back(kernels::runtime::allocate({}, arena_bytes_),
                         [](void* p) { kernels::runtime::release({}, p); });
  staging_.resize(floats);
  staged_logits_.resize(static_cast<std::size_t>(batch_ * classes_));
}

// A thread that computes images of its own waits for nobody and reads nothing that others wrote; a few
// together need their weights once. Fewer images than threads are computed by all.
void Session::share_out() {
  constexpr int64_t most_together = 8;
  const auto parts = [](int64_t value, int64_t size) { return (value + size - 1) / size; };
  const int threads = kernels::runtime::threads();
  const bool beside = batch_ >= threads && batch_ <= Program::most_images;  // else Program says what is wrong
  at_a_time_ = beside ? threads : 1;
  const int64_t share = std::max<int64_t>(1, batch_ / threads);
  pass_ = beside ? parts(share, parts(share, most_together)) : batch_;
}

void Session::switch_to(std::size_t subnet) {
  if (subnet >= programs_.size() || !programs_[subnet])
    throw std::invalid_argument("[deploy] the session was not made for subnet number " +
                                std::to_string(subnet) + ": name it when the session is made");
  current_ = programs_[subnet].get();
}

int64_t Session::image_floats() const {
  const packed::Model& model = loaded_->model();
  const int64_t r = model.subnets()[current_->subnet()].subnet.resolution;
  return r * r * model.preprocessing().channels;
}

void Session::run(const float* images, int64_t count, float* logits) {
  if (count < 1)
    throw std::invalid_argument("[deploy] expected at least one image, got " + std::to_string(count));
  const UsedThreads threads(threads_);
  const int64_t floats = image_floats(), passes = count / pass_;
  const auto pass = [&](int64_t i, std::size_t arena) {
    current_->run(arenas_[arena].get(), images + i * pass_ * floats, logits + i * pass_ * classes_);
  };
  // As many side by side as give everyone an equal share; the others one after the other, by all threads.
  const int64_t beside = at_a_time_ > 1 ? passes / at_a_time_ * at_a_time_ : 0;
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic, 1) num_threads(at_a_time_) if (beside > 0)
  for (int64_t i = 0; i < beside; ++i) {
    try {
      pass(i, static_cast<std::size_t>(omp_get_thread_num()));
    } catch (...) {
#pragma omp critical
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
  for (int64_t i = beside; i < passes; ++i) pass(i, 0);
  const int64_t done = passes * pass_, left = count - done;
  if (left == 0) return;
  // Images of an unfinished pass stand beside whatever the staging held: nothing reads their answers.
  if (images + done * floats != staging_.data())
    std::memmove(staging_.data(), images + done * floats,
                 static_cast<std::size_t>(left * floats) * sizeof(float));
  current_->run(arenas_[0].get(), staging_.data(), staged_logits_.data());
  std::copy_n(staged_logits_.begin(), left * classes_, logits + done * classes_);
}

void Session::run(std::span<const data::Image> images, float* logits) {
  if (images.empty()) throw std::invalid_argument("[deploy] expected at least one image, got none");
  const UsedThreads threads(threads_);
  const packed::Model& model = loaded_->model();
  const int resolution = model.subnets()[current_->subnet()].subnet.resolution;
  const int64_t floats = image_floats();
  for (std::size_t done = 0; done < images.size(); done += static_cast<std::size_t>(batch_)) {
    const auto part = images.subspan(done, std::min(static_cast<std::size_t>(batch_), images.size() - done));
    for (std::size_t i = 0; i < part.size(); ++i)
      prepare_image(model.preprocessing(), part[i], resolution,
                    staging_.data() + static_cast<int64_t>(i) * floats);
    run(staging_.data(), static_cast<int64_t>(part.size()), logits + static_cast<int64_t>(done) * classes_);
  }
}

double Session::measure(std::size_t subnet, int runs) {
  if (runs < 1)
    throw std::invalid_argument("[deploy] expected at least one run, got " + std::to_string(runs));
  const std::size_t before = current_->subnet();
  switch_to(subnet);
  std::fill(staging_.begin(), staging_.end(), 0.25f);
  std::vector<double> times;
  for (int i = -1; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run(staging_.data(), batch_, staged_logits_.data());
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (i >= 0) times.push_back(took.count());
  }
  switch_to(before);
  std::nth_element(times.begin(), times.begin() + runs / 2, times.end());
  const double median = times[static_cast<std::size_t>(runs / 2)];
  loaded_->set_latency(subnet, median);
  return median;
}

}  // namespace rtfq::deploy
