#pragma once
// What our oneDNN kernels share: the engine, descriptors of our layouts, and plans (primitives with the
// layouts and scratch sizes they chose), kept because creating one may take seconds.
//
// A plan bakes a number of threads in: it decides how weights are laid out and how much scratch a launch
// needs. So that packed weights and workspaces stay valid whatever thread uses them and whatever
// set_threads() does later, all plans of a process are made for one number: OpenMP's maximum when the first
// plan is made. Call set_threads() before that.

#include <array>
#include <cstddef>
#include <cstdint>
#include <dnnl.hpp>

#include "kernels/shapes.h"

namespace rtfq::kernels::onednn {

const dnnl::engine& engine();
/// The calling thread's stream.
dnnl::stream& stream();

dnnl::memory::data_type data_type(rtfq_dtype);

/// Attributes of all our primitives: scratch memory comes from the caller. With `accumulate` the result is
/// added to what the destination holds.
dnnl::primitive_attr attributes(bool accumulate = false);

/// Dense [n,h,w,c].
dnnl::memory::desc nhwc(int64_t n, int64_t h, int64_t w, int64_t c, rtfq_dtype type = RTFQ_F32);
/// [k,r,s,c] of a parent with c_parent input channels.
dnnl::memory::desc krsc(int64_t k, int64_t r, int64_t s, int64_t c, int64_t c_parent,
                        rtfq_dtype type = RTFQ_F32);
/// Row-major or transposed matrix: element (i,j) at i*row_stride + j*column_stride.
dnnl::memory::desc matrix(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride,
                          rtfq_dtype type = RTFQ_F32);
/// `count` f32 values.
dnnl::memory::desc vector(int64_t count);

/// A memory object over the caller's bytes; const is cast away because oneDNN has one type for both.
dnnl::memory wrap(const dnnl::memory::desc& desc, const void* data);

inline std::size_t align64(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// Throws std::runtime_error "[op] oneDNN: ...".
[[noreturn]] void rethrow(const char* op, const dnnl::error& error);

}  // namespace rtfq::kernels::onednn
