// Files that survive a crash, a full disk and a second run: what checkpoints, logs and results are written with.
//
//   open_to_read                       opens every input: regular files, and the pipes of a shell's <(...)
//   read_file, write_file_atomically   a whole file; a reader sees the old one or the new one, never a part
//   read_part, OpenFile, AtomicFile    the same for files that are not held in memory whole
//   LogFile                            JSON Lines: whole lines added at the end, cut back on resume
//   make_output_folder, unused_name    where a run writes; never over another run
//   FolderLock                         one process at a time
//
// Errors: Exit::internal "PATH: cannot be written: No space left on device; the disk is full: ..." for what the
// system refuses, Exit::bad_data for a file to be read that cannot be, Exit::usage for a folder that is in use.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace fci {

// A descriptor, which the caller closes. Exit::bad_data for what is not there and for a folder, a device or a named
// pipe, which would be waited for; the pipe of a shell's <(...) only where `pipes`.
int open_to_read(const std::string& path, bool pipes);

std::string read_file(const std::string& path);

// At most `most` bytes, beginning at `from`; fewer only where the file ends.
std::string read_part(const std::string& path, uint64_t from, size_t most);

// The same of a file that stays open, by any number of threads. Such a file is not mapped into memory: one that another
// process cuts would end the program with SIGBUS, and here the bytes are missing.
class OpenFile {
public:
    explicit OpenFile(std::string path);
    ~OpenFile();
    OpenFile(OpenFile&& other) noexcept;
    uint64_t size() const;                                   // now
    size_t read(uint64_t from, size_t most, void* to) const; // bytes read
    const std::string& path() const { return path_; }

private:
    std::string path_;
    int fd_;
};

// Writes PATH.tmp-PID-N beside it, syncs it, renames it over `path` and syncs the folder. On failure the temporary
// file is gone and the old file is as it was, whose mode the new one has. Where `path` is a symbolic link, all this is
// of the file that it leads to; devices are refused. Of the same name a killed process's temporary file goes, if it
// is older than an hour.
void write_file_atomically(const std::string& path, std::string_view bytes);

// The same in parts: a reader sees nothing of it before commit(), and without commit() nothing stays.
class AtomicFile {
public:
    explicit AtomicFile(const std::string& path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;
    void write(std::string_view bytes);
    void commit(); // once, at the end

private:
    std::string path_, temporary_; // temporary_: empty once it is renamed
    int fd_ = -1;
};

// Exit::internal, before long work, where a file could not be written at its end.
void expect_writable(const std::string& path);

// A log with one writer. A checkpoint records size(); resuming from it calls truncate_to() with that number, which
// drops what the interrupted run logged later, a torn last line included.
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
    void sync();                   // on the disk when it returns
    const std::string& path() const { return path_; }

private:
    std::string path_;
    int fd_ = -1;
};

// Makes a new folder, its parents too. One that exists is taken if it is empty, or holds only what a process leaves
// that is killed at once: its lock and temporary files. Else Exit::usage.
void make_output_folder(const std::string& path);

// Makes and returns the first of parent/stem-001, parent/stem-002, ... that does not exist. Two processes that ask
// at once get two folders.
std::string unused_name(const std::string& parent, const std::string& stem);

// While it lives, this process alone uses the folder (made if need be), by flock on its file `lock`. The file stays: to
// remove it would let a second process lock a new one. What is left of files that a killed process was writing there
// goes. A `lock` that is a symbolic link is refused.
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

} // namespace fci
