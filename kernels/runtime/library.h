#pragma once
// Libraries that are opened when they are first wanted.

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace rtfq::kernels::runtime {

class Library {
 public:
  /// The first of the names that can be opened.
  Library(std::initializer_list<const char*> names, const char* what) : what_(what) {
    for (const char* name : names)
      if (!handle_) handle_ = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle_) missing_ = std::string(what) + " is not installed (" + *names.begin() + " was not found)";
  }
  /// Why it cannot be used, or an empty string.
  const std::string& missing() const { return missing_; }

  template <class F>
  F* function(const char* name) const {
    void* found = handle_ ? ::dlsym(handle_, name) : nullptr;
    if (!found)
      throw std::runtime_error(std::string("[") + what_ + "] " +
                               (handle_ ? std::string("has no function ") + name : missing_));
    return reinterpret_cast<F*>(found);
  }

 private:
  const char* what_;
  void* handle_ = nullptr;
  std::string missing_;
};

}  // namespace rtfq::kernels::runtime

/// `name(...)` of a library: RTFQ_CALL(lt(), cublasLtCreate)(&handle). The header's own declaration gives its
/// type.
#define RTFQ_CALL(library, name) (library).function<decltype(name)>(#name)
