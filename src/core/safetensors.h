// safetensors, the format of our checkpoints, read and written by strict code [github.com/huggingface/safetensors].
//
//   8 bytes    n, the length of the header, little-endian
//   n bytes    {"__metadata__":{"KEY":"VALUE",...}, "NAME":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...}
//   the rest   the tensors, row-major, little-endian; offsets count from here
//
// Read: every rule of the format holds or the file is refused. The header is UTF-8 JSON that starts with '{', at most
// 100 MB, followed by spaces only; no key occurs twice and none is unknown; each tensor's bytes are its shape times
// its dtype; together the tensors cover the data exactly, without holes or overlap, to the end of the file.
//
// Written: the header starts with {"__metadata__":{"checksum":"xxh64:0123456789abcdef" and is padded with spaces to
// a multiple of 8; tensors lie in the order given; same input, same bytes. The checksum is XXH64 (seed 0) of the whole
// file with the 16 digits, at bytes 43 to 58, replaced by '0'. A file of another program has no checksum and is read
// without one, but a checksum that is elsewhere, under another key, or of another kind is refused: no single flipped
// bit can make our file look like a foreign one.
//
// Errors: Exit::bad_data "PATH: what is wrong (at byte N); what to do" from reading; writing fails as
// write_file_atomically does (core/files.h) and leaves the old file untouched.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"

namespace fci {

struct StoredTensor {
    std::string name;
    std::string dtype; // F32 F64 I32 I64 U64 U8 ...: see dtype_bytes
    std::vector<int64_t> shape;
    const void* data; // memcpy from it: nothing in the format aligns it
    size_t bytes;
    uint64_t at = 0; // its first byte in the file, where it was read from one
};

using Metadata = std::map<std::string, std::string>;

class SafetensorsFile {
public:
    explicit SafetensorsFile(const std::string& path);    // reads the file whole: later changes to it do no harm
    SafetensorsFile(std::string path, std::string bytes); // the same from memory; `path` is for messages
    SafetensorsFile(const SafetensorsFile&) = delete;     // the tensors point into bytes_
    SafetensorsFile& operator=(const SafetensorsFile&) = delete;

    const std::vector<StoredTensor>& tensors() const { return tensors_; } // in the order of their data
    const StoredTensor* find(std::string_view name) const;                // null if there is none
    // Exit::bad_data unless the tensor is there and is what the caller can use.
    const StoredTensor& require(std::string_view name, std::string_view dtype, const std::vector<int64_t>& shape) const;
    const Metadata& metadata() const { return metadata_; } // without the checksum
    uint64_t hash() const;                                 // XXH64 of the whole file
    bool has_checksum() const { return has_checksum_; }    // then it was right

private:
    std::string path_, bytes_;
    std::vector<StoredTensor> tensors_;
    Metadata metadata_;
    bool has_checksum_ = false;
};

// By the header alone, without data, for a file whose tensors are read in parts. A checksum is left aside.
std::vector<StoredTensor> stored_tensors(const OpenFile&);

std::string safetensors_bytes(const std::vector<StoredTensor>&, const Metadata& = {}); // what write_safetensors writes
void write_safetensors(const std::string& path, const std::vector<StoredTensor>&, const Metadata& = {});

size_t dtype_bytes(std::string_view dtype); // bytes of one number, 0 for an unknown dtype

} // namespace fci
