#include "engine/reducer.h"

namespace rtfq {
namespace {

LocalReducer local;
Reducer* current = &local;

}  // namespace

Reducer& reducer() {
  return *current;
}
void set_reducer(Reducer* reducer) {
  current = reducer ? reducer : &local;
}

}  // namespace rtfq
