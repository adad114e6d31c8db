// Files that survive a crash, a full disk and a second run: what checkpoints, logs and results are written with.
//
//   read_file, write_file_atomically   a whole file; a reader sees the old one or the new one, never a part
//   LogFile                            JSON Lines: whole lines added at the end, cut back on resume
//   make_output_folder, unused_name    where a run writes, and never over another run
//   FolderLock                         one process at a time
//   hash64                             XXH64 of bytes, the same number that `xxh64sum` prints
//
// Errors: Exit::internal "PATH: cannot be written: No space left on device; the disk is full: ..." for what the
// system refuses, Exit::bad_data for a file to be read that cannot be, Exit::usage for a folder that is in use.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace fci {

std::string read_file(const std::string& path);

// Writes PATH.tmp-PID-N beside it, syncs it, renames it over `path` and syncs the folder. On failure the temporary
// file is gone and the old file is as it was. A symbolic link is replaced, not followed; devices are refused.
void write_file_atomically(const std::string& path, std::string_view bytes);

// Exit::internal, before long work, where a file could not be written at its end.
void expect_writable(const std::string& path);

// A log with one writer. A checkpoint records size(); resuming from it calls truncate_to() with that number, which
// drops what the interrupted run logged later, torn last line included.
class LogFile {
public:
    explicit LogFile(std::string path); // opens for appending, or creates
    ~LogFile();
    LogFile(const LogFile&) = delete;
    LogFile& operator=(const LogFile&) = delete;

    void line(std::string_view text); // text and '\n' in one write(2); on failure nothing of it stays in the file
    void truncate_to(int64_t offset); // Exit::bad_data unless a line of this log ends at `offset`
    int64_t size() const;
    std::string last_line() const; // "" where there is none; of one longer than 4096 bytes its end
    void sync(); // on the disk when it returns
    const std::string& path() const { return path_; }

private:
    std::string path_;
    int fd_ = -1;
};

// Makes a new folder, its parents too. One that exists is taken if it is empty, else Exit::usage.
void make_output_folder(const std::string& path);

// Makes and returns the first of parent/stem-001, parent/stem-002, ... that does not exist. Two processes that ask
// at once get two folders.
std::string unused_name(const std::string& parent, const std::string& stem);

// Held while it lives: the folder (made if need be) is this process's, by flock on its file `lock`. The file stays: to
// remove it would let a second process lock a new one.
class FolderLock {
public:
    explicit FolderLock(const std::string& folder);
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;
    bool held() const { return held_; } // false: another process has it
    static bool held_by_another(const std::string& folder);

private:
    int fd_ = -1;
    bool held_ = false;
};

uint64_t hash64(std::string_view bytes, uint64_t seed = 0);

} // namespace fci
