// The convolution's shapes, costs and choice of implementations. Results are compared in catalog.cpp.
#include "kernels/conv2d.h"

#include <catch2/catch.hpp>

#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;
using Catch::Matchers::Contains;

namespace {

/// A slice of a wider parent, odd sizes.
const Conv2dShape sliced = make_conv2d_shape(3, 9, 7, 24, 40, 3, 2, 1, 32);

std::vector<float> forward(const std::string& name, const Conv2dShape& s, const std::vector<float>& x,
                           const std::vector<float>& w) {
  const auto& impl = implementation<Conv2dForward>(name);
  const Packed<Conv2dForward> packed(impl, s, w.data());
  catalog::Buffer workspace(impl.workspace(s));
  std::vector<float> y(static_cast<std::size_t>(s.n * output_height(s) * output_width(s) * s.k), NAN);
  impl.launch(s, {x.data(), packed.get(), y.data(), workspace.data()}, {});
  CHECK((workspace.guards_intact() && packed.guards_intact()));
  return y;
}

std::vector<float> dgrad(const std::string& name, const Conv2dShape& s, const std::vector<float>& g,
                         const std::vector<float>& w) {
  const auto& impl = implementation<Conv2dDgrad>(name);
  const Packed<Conv2dDgrad> packed(impl, s, w.data());
  catalog::Buffer workspace(impl.workspace(s));
  std::vector<float> dx(static_cast<std::size_t>(s.n * s.h * s.w * s.c), NAN);
  impl.launch(s, {g.data(), packed.get(), dx.data(), workspace.data()}, {});
  CHECK((workspace.guards_intact() && packed.guards_intact()));
  return dx;
}

std::vector<float> wgrad(const std::string& name, const Conv2dShape& s, const std::vector<float>& x,
                         const std::vector<float>& g) {
  const auto& impl = implementation<Conv2dWgrad>(name);
  catalog::Buffer workspace(impl.workspace(s));
  std::vector<float> dw(static_cast<std::size_t>(s.k * s.r * s.s * s.c_parent), 0.0f);
  impl.launch(s, {x.data(), g.data(), dw.data(), false, workspace.data()}, {});
  CHECK(workspace.guards_intact());
  return dw;
}

double inner(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

TEST_CASE("conv2d: output sizes round down") {
  const auto stem = make_conv2d_shape(1, 224, 111, 3, 64, 7, 2, 3, 3);
  CHECK(output_height(stem) == 112);
  CHECK(output_width(stem) == 56);
  const auto projection = make_conv2d_shape(1, 7, 8, 16, 32, 1, 2, 0, 16);
  CHECK(output_height(projection) == 4);
  CHECK(output_width(projection) == 4);
  const auto smallest = make_conv2d_shape(1, 3, 3, 1, 1, 3, 5, 0, 1);
  CHECK(output_height(smallest) == 1);
}

TEST_CASE("conv2d: impossible shapes are refused with what to do") {
  const auto make = [](int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, int64_t filter, int64_t stride,
                       int64_t pad, int64_t c_parent) {
    return [=] { make_conv2d_shape(n, h, w, c, k, filter, stride, pad, c_parent); };
  };
  CHECK_NOTHROW(make(1, 8, 8, 16, 16, 3, 1, 1, 16)());
  CHECK_THROWS_WITH(make(0, 8, 8, 16, 16, 3, 1, 1, 16)(),
                    Contains("[conv2d] expected a positive number of images, got 0"));
  CHECK_THROWS_WITH(make(1, -1, 8, 16, 16, 3, 1, 1, 16)(), Contains("input height, got -1"));
  CHECK_THROWS_WITH(make(1, 8, 0, 16, 16, 3, 1, 1, 16)(), Contains("input width"));
  CHECK_THROWS_WITH(make(1, 8, 8, 0, 16, 3, 1, 1, 16)(), Contains("input channels"));
  CHECK_THROWS_WITH(make(1, 8, 8, 16, 0, 3, 1, 1, 16)(), Contains("output channels"));
  CHECK_THROWS_WITH(make(1, 8, 8, 16, 16, 0, 1, 1, 16)(), Contains("filter size"));
  CHECK_THROWS_WITH(make(1, 8, 8, 16, 16, 3, 0, 1, 16)(), Contains("stride"));
  CHECK_THROWS_WITH(make(1, 8, 8, 16, 16, 3, 1, -1, 16)(), Contains("padding of at least 0, got -1"));
  CHECK_THROWS_WITH(make(1, 8, 8, 17, 16, 3, 1, 1, 16)(),
                    Contains("at most 16 input channels, got 17: the subnet is wider than its parent"));
  CHECK_THROWS_WITH(make(1, 2, 8, 16, 16, 5, 1, 1, 16)(), Contains("at least 5x5 with padding, got 4x10"));
  CHECK_THROWS_AS(make(1, 8, 2, 16, 16, 5, 1, 1, 16)(), std::invalid_argument);
}

TEST_CASE("conv2d: types that go together, and which operator takes them") {
  const auto s = make_conv2d_shape(2, 8, 8, 16, 24, 3, 1, 1, 32);
  const rtfq_dtype all[] = {RTFQ_F32, RTFQ_BF16, RTFQ_F16, RTFQ_U8, RTFQ_S8, RTFQ_S32};
  int forward = 0, dgrad = 0, wgrad = 0, refused = 0;
  for (const auto x : all)
    for (const auto w : all)
      for (const auto y : all) {
        Conv2dShape typed = s;
        try {
          typed = with_types(s, x, w, y);
        } catch (const std::invalid_argument& error) {
          ++refused;
          CHECK_THAT(error.what(),
                     Contains("[conv2d] expected") && Contains(std::string("got x ") + type_name(x)));
          typed.x_type = x, typed.w_type = w, typed.y_type = y;
        }
        // The plain implementation takes exactly the operator's rows.
        forward += Conv2dForward::cpu().back().unsupported(typed) == nullptr;
        dgrad += Conv2dDgrad::cpu().back().unsupported(typed) == nullptr;
        wgrad += Conv2dWgrad::cpu().back().unsupported(typed) == nullptr;
      }
  CHECK(refused == 6 * 6 * 6 - 2 - 6 - 4);
  CHECK(forward == 2 + 6);
  CHECK(dgrad == 2);
  CHECK(wgrad == 2 + 4);
  // 255 * 128 * 65793 is the greatest sum below 2^31.
  const auto wide = [](int64_t c) { return make_conv2d_shape(1, 1, 1, c, 1, 1, 1, 0, c); };
  CHECK_NOTHROW(with_types(wide(65793), RTFQ_U8, RTFQ_S8, RTFQ_S32));
  CHECK_THROWS_WITH(with_types(wide(65794), RTFQ_U8, RTFQ_S8, RTFQ_S32), Contains("at most 65793 products"));
  CHECK_NOTHROW(with_types(wide(131071), RTFQ_S8, RTFQ_S8, RTFQ_F32));
  CHECK_THROWS_WITH(with_types(wide(131072), RTFQ_S8, RTFQ_S8, RTFQ_F32),
                    Contains("at most 131071 products"));
  CHECK_NOTHROW(with_types(wide(65794), RTFQ_U8, RTFQ_F32, RTFQ_BF16));  // a weight gradient's sums are f32
}

TEST_CASE("conv2d: costs count each operand in its own type") {
  const auto s = make_conv2d_shape(2, 8, 8, 16, 24, 3, 2, 1, 32);
  const double x = 2 * 8 * 8 * 16, w = 24 * 9 * 16, y = 2 * 4 * 4 * 24;
  const auto bf16_shape = with_types(s, RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
  CHECK(cost(Conv2dForward{}, bf16_shape).bytes == 2 * x + 4 * w + 2 * y);
  CHECK(cost(Conv2dDgrad{}, bf16_shape).bytes == 2 * x + 4 * w + 2 * y);
  CHECK(cost(Conv2dWgrad{}, bf16_shape).bytes == 2 * x + 4 * w + 2 * y);
  CHECK(cost(Conv2dForward{}, with_types(s, RTFQ_U8, RTFQ_S8, RTFQ_S32)).bytes == x + w + 4 * y);
  const Cost scaled = cost(Conv2dForward{}, with_types(s, RTFQ_S8, RTFQ_S8, RTFQ_BF16));
  CHECK(scaled.bytes == x + w + 2 * y + 4 * 24);
  CHECK(scaled.operations == 2 * static_cast<double>(macs(s)) + y);
  CHECK(cost(Conv2dWgrad{}, with_types(s, RTFQ_U8, RTFQ_F32, RTFQ_BF16)).bytes == x + 4 * w + 2 * y);
}

TEST_CASE("conv2d: declared costs") {
  // 56x56 64 -> 64, 3x3: the textbook 115.6 million multiply-adds an image.
  const auto s = make_conv2d_shape(2, 56, 56, 64, 64, 3, 1, 1, 80);
  CHECK(macs(s) == 2 * 115605504);
  for (const Cost& c : {cost(Conv2dForward{}, s), cost(Conv2dDgrad{}, s), cost(Conv2dWgrad{}, s)}) {
    CHECK(c.operations == 4.0 * 115605504);
    CHECK(c.bytes == 4.0 * (2 * 2 * 56 * 56 * 64 + 64 * 9 * 64));  // the slice's weights, not the parent's
  }
  CHECK(macs(sliced) == 3 * 5 * 4 * 40 * 9 * 24);
}

TEST_CASE("conv2d: the library comes first, a preference wins where it can") {
  CHECK(choose<Conv2dForward>(Backend::cpu, sliced).name == std::string("onednn"));
  CHECK(choose<Conv2dDgrad>(Backend::cpu, sliced).name == std::string("onednn"));
  CHECK(choose<Conv2dWgrad>(Backend::cpu, sliced).name == std::string("onednn"));

  prefer(Conv2dForward::name, "naive");
  CHECK(choose<Conv2dForward>(Backend::cpu, sliced).name == std::string("naive"));
  CHECK(choose<Conv2dDgrad>(Backend::cpu, sliced).name == std::string("onednn"));  // one operator only
  prefer(Conv2dForward::name, "no such");
  CHECK(choose<Conv2dForward>(Backend::cpu, sliced).name == std::string("onednn"));
  prefer(Conv2dForward::name, "onednn");
  const auto padded = make_conv2d_shape(1, 4, 4, 8, 8, 1, 1, 1, 8);
  CHECK(choose<Conv2dForward>(Backend::cpu, padded).name ==
        std::string("naive"));  // the preferred one refuses
  prefer(Conv2dForward::name, "");
  CHECK(choose<Conv2dForward>(Backend::cpu, sliced).name == std::string("onednn"));

  if (!built_with_cuda)
    CHECK_THROWS_WITH(choose<Conv2dForward>(Backend::cuda, sliced),
                      Contains("[conv2d.forward]") && Contains("cuda"));
}

TEST_CASE("conv2d: every list ends in the plain implementation, which reads weights in place") {
  const auto plain = [](const auto& list) {
    CHECK(list.back().name == std::string("naive"));
    CHECK(list.back().unsupported(make_conv2d_shape(1, 4, 4, 8, 8, 1, 1, 1, 8)) == nullptr);
    CHECK(list.back().packed_bytes == nullptr);
    CHECK(list.back().workspace(sliced) == 0);
  };
  plain(Conv2dForward::cpu());
  plain(Conv2dDgrad::cpu());
  plain(Conv2dWgrad::cpu());
}

TEST_CASE("conv2d: the plain implementation does not depend on the number of threads") {
  const auto& s = sliced;
  const auto x = normal(s.n * s.h * s.w * s.c, 1), w = normal(s.k * 9 * s.c_parent, 2);
  const auto g = normal(s.n * output_height(s) * output_width(s) * s.k, 3);
  CHECK(independent_of_threads([&] { return forward("naive", s, x, w); }));
  CHECK(independent_of_threads([&] { return dgrad("naive", s, g, w); }));
  CHECK(independent_of_threads([&] { return wgrad("naive", s, x, g); }));
}

TEST_CASE("conv2d: the three directions are adjoint") {
  // <conv(x, w), g> = <x, dgrad(g, w)> = <w, wgrad(x, g)>, exactly, since all sums of small integers are.
  for (const auto& s :
       {sliced, make_conv2d_shape(2, 12, 12, 3, 16, 5, 2, 2, 3),
        make_conv2d_shape(2, 7, 8, 16, 32, 1, 2, 0, 24), make_conv2d_shape(1, 6, 5, 7, 5, 3, 1, 0, 7)})
    for (const char* name : {"onednn", "naive"}) {
      const auto x = exact(s.n * s.h * s.w * s.c, 4), w = exact(s.k * s.r * s.s * s.c_parent, 5);
      const auto g = exact(s.n * output_height(s) * output_width(s) * s.k, 6);
      const double product = inner(forward(name, s, x, w), g);
      INFO(name << " filter " << s.r << " stride " << s.stride);
      CHECK(product != 0);
      CHECK(inner(x, dgrad(name, s, g, w)) == product);
      CHECK(inner(w, wgrad(name, s, x, g)) == product);
    }
}
