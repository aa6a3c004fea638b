// wgmma: a lane's part of a product is computed at a moment between its issue and the wait for its group,
// from what the asynchronous proxy sees of shared memory then.
#include "kernels/simt/runner.h"

namespace rtfq::simt::device {

/// All lanes of a warp meet here, as `.sync.aligned` demands.
static void meet(Wait kind, Place place) {
  Offer offer{kind};
  Runner::running().meet(~0u, offer, place);
}

void wgmma_fence(Place place) {
  meet(Wait::wgmma, place);
  Runner::running().current().products_fenced = true;
}

void wgmma(void* accumulators, uint64_t a, uint64_t b, ProductFunction* product, Place place) {
  Runner& runner = Runner::running();
  CudaThread& thread = runner.current();
  if (!thread.products_fenced)
    runner.fail("wgmma at " + std::string(place.file) + ":" + std::to_string(place.line) +
                ": no wgmma.fence since the last group was committed");
  const Async when = options().async;
  if (thread.products.empty() && (when == Async::early || (when == Async::mixed && runner.random().below(2))))
    product(accumulators, a, b);
  else
    thread.products.push_back({accumulators, a, b, product, thread.product_groups});
}

void wgmma_commit(Place place) {
  meet(Wait::wgmma, place);
  CudaThread& thread = Runner::running().current();
  ++thread.product_groups;
  thread.products_fenced = false;
}

void wgmma_wait(uint32_t groups, Place place) {
  CudaThread& thread = Runner::running().current();
  std::size_t done = 0;
  for (; done < thread.products.size() && thread.products[done].group + groups < thread.product_groups;
       ++done) {
    const PendingProduct p = thread.products[done];
    p.product(p.accumulators, p.a, p.b);
  }
  thread.products.erase(thread.products.begin(), thread.products.begin() + static_cast<std::ptrdiff_t>(done));
  meet(Wait::wgmma_wait, place);
}

}  // namespace rtfq::simt::device
