// The C interface: handles over tools/deploy/session.h, and exceptions as statuses.
#include <cmath>
#include <limits>
#include <new>
#include <stdexcept>

#include "tools/deploy/pixels.h"
#include "tools/deploy/rtfq.h"
#include "tools/deploy/session.h"

using rtfq::deploy::LoadedModel;
using rtfq::deploy::Session;

struct rtfq_model {
  std::shared_ptr<LoadedModel> loaded;
  std::vector<std::string> ids;
};
struct rtfq_context {
  std::shared_ptr<LoadedModel> loaded;
  Session session;
};

namespace {

thread_local std::string last_error;

rtfq_status failed(rtfq_status status, const char* what) noexcept {
  try {
    last_error = what;
  } catch (...) {
    last_error.clear();
  }
  return status;
}

/// Runs `body` and turns what it throws into a status.
template <class Body>
rtfq_status guarded(const Body& body) noexcept {
  try {
    return body();
  } catch (const rtfq::packed::FormatError& error) {
    return failed(RTFQ_BAD_FILE, error.what());
  } catch (const std::invalid_argument& error) {
    return failed(RTFQ_INVALID_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return failed(RTFQ_OUT_OF_MEMORY, "[rtfq] there is not enough memory");
  } catch (const std::exception& error) {
    return failed(RTFQ_FAILED, error.what());
  } catch (...) {
    return failed(RTFQ_FAILED, "[rtfq] an unknown error");
  }
}

void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

std::size_t subnet_number(const rtfq_model& model, int index) {
  if (index < 0 || static_cast<std::size_t>(index) >= model.ids.size())
    throw std::invalid_argument("[rtfq] the model has " + std::to_string(model.ids.size()) +
                                " subnets; there is no number " + std::to_string(index));
  return static_cast<std::size_t>(index);
}

rtfq_status hand_over(std::shared_ptr<LoadedModel> loaded, rtfq_model** model) {
  auto made = std::make_unique<rtfq_model>();
  for (const auto& entry : loaded->model().subnets()) made->ids.push_back(rtfq::id(entry.subnet));
  made->loaded = std::move(loaded);
  *model = made.release();
  return RTFQ_OK;
}

std::optional<double> limit(double value) {
  if (value == 0) return {};
  require(value > 0, "[rtfq] a limit is positive, or 0 for none");
  return value;
}

}  // namespace

int rtfq_api_version(void) {
  return RTFQ_API_VERSION;
}

const char* rtfq_error(void) {
  return last_error.c_str();
}

rtfq_status rtfq_load_file(const char* path, rtfq_model** model) {
  return guarded([&] {
    require(path && model, "[rtfq] path or model is NULL");
    try {
      return hand_over(LoadedModel::from_file(path), model);
    } catch (const std::runtime_error& error) {
      return failed(RTFQ_BAD_FILE, error.what());
    }
  });
}

rtfq_status rtfq_load_buffer(const void* bytes, size_t size, rtfq_model** model) {
  return guarded([&] {
    require((bytes || size == 0) && model, "[rtfq] bytes or model is NULL");
    const auto* begin = static_cast<const unsigned char*>(bytes);
    return hand_over(LoadedModel::from_bytes({begin, begin + size}), model);
  });
}

void rtfq_free_model(rtfq_model* model) {
  delete model;
}

int rtfq_class_count(const rtfq_model* model) {
  return model ? static_cast<int>(model->loaded->model().classes().size()) : 0;
}

const char* rtfq_class_name(const rtfq_model* model, int index) {
  if (index < 0 || index >= rtfq_class_count(model)) return nullptr;
  return model->loaded->model().classes()[static_cast<std::size_t>(index)].c_str();
}

int rtfq_channels(const rtfq_model* model) {
  return model ? model->loaded->model().preprocessing().channels : 0;
}

int rtfq_subnet_count(const rtfq_model* model) {
  return model ? static_cast<int>(model->ids.size()) : 0;
}

rtfq_status rtfq_subnet(const rtfq_model* model, int index, rtfq_subnet_info* info) {
  return guarded([&] {
    require(model && info, "[rtfq] model or info is NULL");
    const std::size_t i = subnet_number(*model, index);
    const auto& packed = model->loaded->model();
    const auto& entry = packed.subnets()[i];
    constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    double score = unknown;
    if (!packed.criteria().empty())
      if (const auto found = entry.scores.find(packed.criteria().front().name); found != entry.scores.end())
        score = found->second;
    *info = {model->ids[i].c_str(),
             entry.subnet.width,
             entry.subnet.depth,
             entry.subnet.resolution,
             entry.subnet.bits,
             entry.cost.params,
             entry.cost.bytes,
             entry.cost.macs,
             entry.cost.bitops,
             entry.cost.memory,
             score,
             model->loaded->latency(i).value_or(unknown)};
    return RTFQ_OK;
  });
}

const char* rtfq_score_meaning(const rtfq_model* model) {
  if (!model || model->loaded->model().criteria().empty()) return nullptr;
  return model->loaded->model().criteria().front().words.c_str();
}

rtfq_status rtfq_select(const rtfq_model* model, const rtfq_limits* limits, const char* criterion,
                        int* index) {
  return guarded([&] {
    require(model && index, "[rtfq] model or index is NULL");
    rtfq::deploy::Limits within;
    if (limits)
      within = {limit(limits->macs), limit(limits->bitops), limit(limits->bytes), limit(limits->memory),
                limit(limits->latency_ms)};
    const auto best = rtfq::deploy::select(*model->loaded, within, criterion ? criterion : "");
    if (!best) return failed(RTFQ_NOTHING_FITS, "[rtfq] no subnet fits the limits");
    *index = static_cast<int>(*best);
    return RTFQ_OK;
  });
}

rtfq_status rtfq_new_context(rtfq_model* model, const rtfq_context_options* options, rtfq_context** context) {
  return guarded([&] {
    require(model && context, "[rtfq] model or context is NULL");
    rtfq::deploy::SessionOptions with;
    if (options) {
      require(options->batch >= 0, "[rtfq] batch is negative");
      require(options->subnet_count >= 0 && (options->subnets || options->subnet_count == 0),
              "[rtfq] subnets is NULL or their count negative");
      with.threads = options->threads;
      if (options->batch) with.batch = options->batch;
      for (int i = 0; i < options->subnet_count; ++i)
        with.subnets.push_back(subnet_number(*model, options->subnets[i]));
    }
    *context = new rtfq_context{model->loaded, Session(model->loaded, with)};
    return RTFQ_OK;
  });
}

void rtfq_free_context(rtfq_context* context) {
  delete context;
}

rtfq_status rtfq_switch(rtfq_context* context, int subnet) {
  return guarded([&] {
    require(context, "[rtfq] context is NULL");
    require(subnet >= 0, "[rtfq] the subnet's number is negative");
    context->session.switch_to(static_cast<std::size_t>(subnet));
    return RTFQ_OK;
  });
}

int rtfq_current(const rtfq_context* context) {
  return context ? static_cast<int>(context->session.subnet()) : -1;
}

size_t rtfq_context_bytes(const rtfq_context* context) {
  return context ? context->session.arena_bytes() : 0;
}

size_t rtfq_weight_bytes(const rtfq_context* context) {
  return context ? context->loaded->weights().bytes() : 0;
}

rtfq_status rtfq_run(rtfq_context* context, const float* images, int count, float* logits) {
  return guarded([&] {
    require(context && images && logits, "[rtfq] context, images or logits is NULL");
    context->session.run(images, count, logits);
    return RTFQ_OK;
  });
}

rtfq_status rtfq_run_image(rtfq_context* context, const rtfq_image* image, float* logits) {
  return rtfq_run_images(context, image, 1, logits);
}

rtfq_status rtfq_run_images(rtfq_context* context, const rtfq_image* images, int count, float* logits) {
  return guarded([&] {
    require(context && images && logits, "[rtfq] context, images or logits is NULL");
    require(count > 0, "[rtfq] expected at least one image");
    std::vector<rtfq::data::Image> decoded;
    for (int i = 0; i < count; ++i)
      decoded.push_back(rtfq::deploy::image_of(images[i], context->loaded->model().preprocessing().channels));
    context->session.run(decoded, logits);
    return RTFQ_OK;
  });
}

void rtfq_softmax(float* logits, int classes) {
  if (!logits || classes < 1) return;
  float highest = logits[0];
  for (int i = 1; i < classes; ++i) highest = std::max(highest, logits[i]);
  double sum = 0;
  for (int i = 0; i < classes; ++i) sum += std::exp(static_cast<double>(logits[i]) - highest);
  for (int i = 0; i < classes; ++i)
    logits[i] = static_cast<float>(std::exp(static_cast<double>(logits[i]) - highest) / sum);
}

rtfq_status rtfq_measure(rtfq_context* context, int subnet, int runs, double* milliseconds) {
  return guarded([&] {
    require(context && subnet >= 0, "[rtfq] context is NULL or the subnet's number negative");
    const double median = context->session.measure(static_cast<std::size_t>(subnet), runs);
    if (milliseconds) *milliseconds = median;
    return RTFQ_OK;
  });
}
