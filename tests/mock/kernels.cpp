// What nvcc's objects record about their kernels. Each object registers its device code (a fat binary: one ELF file per
// architecture) when the program starts. The layout is not documented; it was read off `cuobjdump
// --dump-resource-usage` and `--dump-elf`, and a deviation from it ends the program.
#include "tests/mock/kernels.h"

#include <cxxabi.h>
#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

namespace mock {
namespace {

[[noreturn]] void give_up(const std::string& what) {
    fmt::print(stderr, "mock of CUDA: {}\n", what);
    std::abort();
}

using Kernels = std::map<std::string, Kernel>; // by the linker's name

std::map<const void*, Kernel>& registered() { // before main, so it cannot be a plain global
    static auto& all = *new std::map<const void*, Kernel>;
    return all;
}

template <class T>
T read(const char* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

std::string demangled(const std::string& symbol) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> text(
        abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), std::free);
    return text ? text.get() : symbol;
}

// The name in the source, without namespaces and parameters. Since many are called forward_kernel or each_kernel, it is
// followed by the function whose lambda it calls, or by its file.
std::string short_name(const std::string& symbol) {
    std::string name = demangled(symbol), where;
    for (const char* noise : {"fci::cuda::", "(anonymous namespace)::", "fci::", "void "})
        for (size_t at; (at = name.find(noise)) != std::string::npos;) name.erase(at, std::strlen(noise));
    const std::string file = "_GLOBAL__N__";
    if (name.find("{lambda") != std::string::npos) { // name<..., FUNCTION(...)::{lambda ...
        where = name.substr(0, name.find('('));
        where = where.substr(where.find_last_of(" <") + 1);
    }
    if (size_t from = symbol.find(file); where.empty() && from != std::string::npos) { // then: hash_length_NAME_cu_hash
        for (int skipped = 0; skipped < 2; ++skipped) from = symbol.find('_', from + (skipped ? 1 : file.size()));
        where = symbol.substr(from + 1, symbol.find("_cu_", from) - from - 1);
    }
    name.resize(std::min(name.size(), name.find_first_of("(<")));
    return where.empty() ? name : fmt::format("{} ({})", name, where);
}

constexpr size_t shared_reserved = 1 * kib; // per block, for the system: from sm_90 on the objects include it

// .nv.info: entries of (format, attribute, 16 bits); with format 4 the 16 bits are the number of bytes that follow.
enum Attribute : uint8_t { max_threads = 0x05, parameter = 0x17, register_count = 0x2f };

template <class F>
void each_entry(const char* at, size_t bytes, F f) {
    for (const char* end = at + bytes; at < end;) {
        const auto format = read<uint8_t>(at), attribute = read<uint8_t>(at + 1);
        const auto size = read<uint16_t>(at + 2);
        at += 4;
        if (format != 4) continue;
        f(attribute, at);
        at += size;
    }
}

Kernels read_cubin(const char* elf) {
    if (std::memcmp(elf, ELFMAG, SELFMAG) != 0)
        give_up("device code is compressed, and cannot be read: nvcc needs --no-compress");
    const auto header = read<Elf64_Ehdr>(elf);
    const auto section = [&](int i) { return read<Elf64_Shdr>(elf + header.e_shoff + i * sizeof(Elf64_Shdr)); };
    const char* names = elf + section(header.e_shstrndx).sh_offset;
    const std::string info = ".nv.info.", shared = ".nv.shared.";
    Kernels kernels;
    bool reserved = false;
    for (int i = 0; i < header.e_shnum; ++i) {
        const Elf64_Shdr s = section(i);
        const std::string name = names + s.sh_name;
        if (name.starts_with(shared)) kernels[name.substr(shared.size())].fixed_shared = s.sh_size;
        reserved |= name.starts_with(".nv.shared.reserved");
        if (!name.starts_with(info)) continue;
        Kernel& k = kernels[name.substr(info.size())];
        each_entry(elf + s.sh_offset, s.sh_size, [&](uint8_t attribute, const char* at) {
            if (attribute == max_threads)
                k.most_threads = read<uint32_t>(at) * read<uint32_t>(at + 4) * read<uint32_t>(at + 8);
            if (attribute != parameter) return;
            const auto number = read<uint16_t>(at + 4);
            if (k.sizes.size() <= number) k.sizes.resize(number + 1);
            k.sizes[number] = read<uint32_t>(at + 8) >> 18;
        });
    }
    for (int i = 0; i < header.e_shnum; ++i) { // registers: one section for all kernels, by symbol
        const Elf64_Shdr s = section(i);
        if (std::string(names + s.sh_name) != ".nv.info") continue;
        const Elf64_Shdr symbols = section(s.sh_link), strings = section(symbols.sh_link);
        each_entry(elf + s.sh_offset, s.sh_size, [&](uint8_t attribute, const char* at) {
            if (attribute != register_count) return;
            const auto symbol = read<Elf64_Sym>(elf + symbols.sh_offset + read<uint32_t>(at) * sizeof(Elf64_Sym));
            const auto found = kernels.find(elf + strings.sh_offset + symbol.st_name);
            if (found != kernels.end()) found->second.registers = read<uint32_t>(at + 4);
        });
    }
    for (auto& [name, k] : kernels)
        if (reserved && k.fixed_shared) k.fixed_shared -= shared_reserved;
    return kernels;
}

// The code for this architecture, else the first one.
Kernels read_fat_binary(const char* fat) {
    const char *at = fat + read<uint16_t>(fat + 6), *end = at + read<uint64_t>(fat + 8), *best = nullptr;
    for (; at < end; at += read<uint32_t>(at + 4) + read<uint64_t>(at + 8)) {
        const auto kind = read<uint16_t>(at);
        const auto made_for = read<int32_t>(at + 28);
        if (kind == 2 && (!best || made_for == architecture)) best = at + read<uint32_t>(at + 4);
    }
    if (!best) give_up("an object has no device code but PTX: build with CUDA_ARCH=90");
    return read_cubin(best);
}

constexpr unsigned warp = 32, warps_of_multiprocessor = 64, blocks_of_multiprocessor = 32;
constexpr unsigned registers_of_quarter = 16384; // an SM has four quarters, each with its own warps
unsigned warps(const Launch& l) { return static_cast<unsigned>((l.threads() + warp - 1) / warp); }
unsigned warps_by_registers(const Kernel& k) { // a warp gets registers in units of 256
    const unsigned of_warp = (k.registers * warp + 255) / 256 * 256;
    return of_warp ? registers_of_quarter / of_warp * 4 : warps_of_multiprocessor;
}

} // namespace

std::string refusal(const Launch& l) {
    const Kernel& k = *l.kernel;
    const dim3 g = l.grid, b = l.block;
    if (!l.blocks() || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
        return fmt::format("a grid of {} x {} x {}", g.x, g.y, g.z);
    if (!l.threads() || b.x > 1024 || b.y > 1024 || b.z > 64 || l.threads() > k.most_threads)
        return fmt::format("a block of {} x {} x {}; {} threads at most", b.x, b.y, b.z, k.most_threads);
    if (warps(l) > warps_by_registers(k))
        return fmt::format("{} registers x {} threads: more than a multiprocessor has", k.registers, l.threads());
    if (l.dynamic_shared > k.most_dynamic())
        return fmt::format("{} bytes of dynamic shared memory beside {}, and {} are allowed", l.dynamic_shared,
                           k.fixed_shared, k.most_dynamic());
    return "";
}

int resident_blocks(const Launch& l) {
    const size_t shared = (l.dynamic_shared + l.kernel->fixed_shared + shared_reserved + 127) / 128 * 128;
    const unsigned by_warps = std::min(warps_of_multiprocessor, warps_by_registers(*l.kernel)) / warps(l);
    return static_cast<int>(
        std::min({by_warps, blocks_of_multiprocessor, static_cast<unsigned>(shared_of_multiprocessor / shared)}));
}

Kernel& kernel_of(const void* host_function) {
    const auto found = registered().find(host_function);
    if (found == registered().end()) give_up("a kernel that no object registered");
    return found->second;
}

} // namespace mock

// The functions that nvcc's objects call before main  [crt/host_runtime.h].
extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
    const auto* fat = mock::read<const char*>(static_cast<const char*>(wrapper) + 8); // fatbinary_section.h
    return reinterpret_cast<void**>(new mock::Kernels(mock::read_fat_binary(fat)));
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void** handle) { delete reinterpret_cast<mock::Kernels*>(handle); }

void __cudaRegisterFunction(void** handle, const char* host_function, char*, const char* symbol, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
    auto& kernels = *reinterpret_cast<mock::Kernels*>(handle);
    const auto found = kernels.find(symbol);
    if (found == kernels.end() || !found->second.registers)
        mock::give_up(fmt::format("device code says nothing of {}", symbol));
    found->second.name = mock::short_name(symbol);
    mock::registered()[host_function] = found->second;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host_function) {
    *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(host_function));
    return cudaSuccess;
}

} // extern "C"
