// An event file for TensorBoard: scalars by step, as `fci train --tensorboard` writes them into the run's folder.
//
//   file     records, one after the other [TFRecord: tensorflow/core/lib/io/record_writer.h]
//   record   u64 n, u32 masked(n's 8 bytes), n bytes, u32 masked(these bytes); little-endian
//            masked(x) = rotate_right(crc32c(x), 15) + 0xa282ead8;  crc32c: Castagnoli's polynomial [RFC 3720, B.4]
//   bytes    an Event in Protocol Buffers' encoding [tensorflow/core/util/event.proto, framework/summary.proto]:
//            1 wall_time double   2 step int64   3 file_version string   5 summary Summary   7 session_log SessionLog
//            Summary: 1 value Value, repeated;  Value: 1 tag string, 2 simple_value float;  SessionLog: 1 status, START
//            1
// The first event has the version brain.Event:2. A run that goes on begins another file, with a START at its first
// step: what an earlier file says of this step and later ones is then no longer shown.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace fci {

uint32_t crc32c(const std::string& bytes);

using Scalars = std::vector<std::pair<std::string, double>>; // tag, value

class EventFile {
public:
    EventFile(const std::string& folder, int64_t first_step); // makes a new file in it
    ~EventFile();
    EventFile(const EventFile&) = delete;
    EventFile& operator=(const EventFile&) = delete;

    void add(int64_t step, const Scalars&);
    void flush(); // what was added can be read now. Exit::internal where it cannot be written

private:
    void write(const std::string& event);
    std::string path_;
    std::FILE* file_ = nullptr;
};

} // namespace fci
