#include "kernels/plugin/cubin_file.h"

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string_view>

namespace rtfq::kernels::plugin {
namespace {

constexpr int machine_cuda = 190;  // EM_CUDA

/// Parts of a file that are checked to be there.
class Bytes {
 public:
  explicit Bytes(std::string_view all) : all_(all) {}

  template <class T>
  T at(std::size_t offset) const {
    T value;
    std::memcpy(&value, part(offset, sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view part(std::size_t offset, std::size_t size) const {
    if (offset > all_.size() || all_.size() - offset < size) throw std::runtime_error("the cubin is cut off");
    return all_.substr(offset, size);
  }
  /// The text at `offset` up to its zero.
  std::string text(std::size_t offset) const {
    part(offset, 1);
    const std::string_view rest = all_.substr(offset);
    return std::string(rest.substr(0, rest.find('\0')));
  }
  std::size_t size() const { return all_.size(); }

 private:
  std::string_view all_;
};

/// The sizes of a kernel's parameters, from its attributes: each begins with a format (4: so many bytes
/// follow, else two bytes) and a name. 0x17 is one parameter: its index in bytes 4 and 5, its size in the
/// last word's upper 14 bits.
std::vector<std::size_t> parameters_of(const Bytes& attributes) {
  constexpr int sized = 4, parameter = 0x17;
  std::map<uint16_t, std::size_t> sizes;
  for (std::size_t at = 0; at < attributes.size();) {
    const int format = attributes.at<uint8_t>(at), attribute = attributes.at<uint8_t>(at + 1);
    const std::size_t bytes = format == sized ? attributes.at<uint16_t>(at + 2) : 0;
    if (format == sized && attribute == parameter) {
      const Bytes value(attributes.part(at + 4, bytes));
      sizes[value.at<uint16_t>(4)] = value.at<uint32_t>(8) >> 18;
    }
    at += 4 + bytes;
  }
  std::vector<std::size_t> list;
  for (const auto& [index, size] : sizes) {
    if (index != list.size()) throw std::runtime_error("the cubin does not describe all of its parameters");
    list.push_back(size);
  }
  return list;
}

}  // namespace

std::vector<CubinKernel> kernels_of(const std::string& bytes) {
  const Bytes file(bytes);
  if (bytes.size() < sizeof(Elf64_Ehdr) || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0)
    throw std::runtime_error("expected a cubin, which is an ELF file, and this is none");
  const auto head = file.at<Elf64_Ehdr>(0);
  if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_machine != machine_cuda)
    throw std::runtime_error("expected an ELF file for CUDA, got one for machine " +
                             std::to_string(head.e_machine));
  const auto section = [&](std::size_t i) {
    return file.at<Elf64_Shdr>(head.e_shoff + i * sizeof(Elf64_Shdr));
  };
  const Elf64_Shdr names = section(head.e_shstrndx);
  std::vector<CubinKernel> found;
  std::map<std::string, std::vector<std::size_t>> parameters;
  const std::string code = ".text.", info = ".nv.info.";
  for (std::size_t i = 0; i < head.e_shnum; ++i) {
    const Elf64_Shdr one = section(i);
    const std::string name = file.text(names.sh_offset + one.sh_name);
    if (name.starts_with(code)) found.push_back({name.substr(code.size()), {}});
    if (name.starts_with(info))
      parameters[name.substr(info.size())] = parameters_of(Bytes(file.part(one.sh_offset, one.sh_size)));
  }
  for (CubinKernel& kernel : found) kernel.parameters = parameters[kernel.name];
  return found;
}

}  // namespace rtfq::kernels::plugin
