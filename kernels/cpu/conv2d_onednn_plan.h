#pragma once
// What oneDNN needs to know for one convolution, made once a shape: its kernel, the reorders between that
// kernel's weight layout and our strided slice, and how much scratch each wants.

#include <memory>
#include <string>

#include "kernels/conv2d.h"
#include "kernels/cpu/onednn.h"

namespace rtfq::kernels::onednn {

/// A reorder and its scratch.
struct Reorder {
  dnnl::reorder primitive;
  dnnl::memory::desc scratch;
};

struct Conv2dPlan {
  dnnl::memory::desc x, w,
      y;                     ///< as the kernel sees them: `w` in its layout, `x` of codes converted in wgrad
  dnnl::memory::desc slice;  ///< the weights, or their gradient, where the caller has them
  dnnl::memory::desc scratch;
  dnnl::primitive convolution;
  bool scaled = false;  ///< forward: takes a scale for each output channel
  Reorder pack;         ///< forward, dgrad
  Reorder store, add;   ///< wgrad; both take a scale for all
  std::string kernel;   ///< names of what the library chose
};

/// Throw std::runtime_error ("[conv2d.forward] oneDNN: ...") where the library has no kernel.
std::shared_ptr<const Conv2dPlan> conv2d_forward_plan(const Conv2dShape&);
std::shared_ptr<const Conv2dPlan> conv2d_dgrad_plan(const Conv2dShape&);
std::shared_ptr<const Conv2dPlan> conv2d_wgrad_plan(const Conv2dShape&);

}  // namespace rtfq::kernels::onednn
