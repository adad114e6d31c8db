#include "core/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/check.h"

namespace fci {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

const char* advice(int error) {
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return "the disk is full: free some space, or choose another --out";
    case EFBIG:
        return "a limit on file sizes was reached: see `ulimit -f`";
    case EMFILE:
    case ENFILE:
        return "too many files are open: see `ulimit -n`";
    case ENOMEM:
        return "free some memory";
    case EIO:
        return "the disk failed: check it before going on";
    default:
        return "check that the folder exists and can be written, or choose another --out";
    }
}

[[noreturn]] void cannot(const char* what, const std::string& path, int error) {
    fail(Exit::internal, "{}: cannot be {}: {}; {}", path, what, std::generic_category().message(error), advice(error));
}

// Our signals ask for a checkpoint; a call that they interrupt is repeated.
template <class Call>
auto retried(Call call) {
    decltype(call()) result;
    do result = call();
    while (result < 0 && errno == EINTR);
    return result;
}

struct Descriptor {
    int fd;
    ~Descriptor() { close(); }
    int close() {
        const int open = std::exchange(fd, -1);
        return open < 0 ? 0 : ::close(open);
    }
};

// 0, or the errno that stopped it.
int write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const size_t part = std::min(bytes.size(), size_t{1} << 30); // Linux writes at most 2 GiB at once
        const ssize_t n = retried([&] { return ::write(fd, bytes.data(), part); });
        if (n < 0) return errno;
        bytes.remove_prefix(static_cast<size_t>(n));
    }
    return 0;
}

std::string folder_of(const std::string& path) {
    const std::string folder = fs::path(path).parent_path().string();
    return folder.empty() ? "." : folder;
}

// A rename or a new folder is on the disk only once its parent folder is synced.
void sync_folder(const std::string& folder) {
    Descriptor d{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (d.fd < 0 && errno == EACCES) return; // may be entered but not read: there is no way to sync it
    // EINVAL: a file system that does not sync folders
    if (d.fd < 0 || (retried([&] { return ::fsync(d.fd); }) < 0 && errno != EINVAL)) cannot("synced", folder, errno);
}

void make_folders(const std::string& path) {
    if (std::error_code ignored; path.empty() || fs::is_directory(path, ignored)) return;
    make_folders(fs::path(path).parent_path().string());
    if (::mkdir(path.c_str(), 0777) == 0) return sync_folder(folder_of(path));
    if (errno != EEXIST) cannot("made", path, errno);
    if (std::error_code ignored; !fs::is_directory(path, ignored)) // else another process was faster
        fail(Exit::usage, "{}: is a file, not a folder: choose another --out", path);
}

// "runs/a/" names the same folder as "runs/a", but has another parent_path.
std::string without_last_slash(std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
}

constexpr const char* lock_name = "lock";

// The process that has, or had, not finished a file: write_file_atomically names them NAME.tmp-PID-N. 0: another file.
pid_t writer_of(const std::string& name) {
    const size_t at = name.rfind(".tmp-");
    if (at == std::string::npos || at == 0) return 0;
    pid_t pid = 0;
    unsigned n = 0;
    const char* const end = name.data() + name.size();
    const auto first = std::from_chars(name.data() + at + 5, end, pid);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') return 0;
    const auto second = std::from_chars(first.ptr + 1, end, n);
    return second.ec == std::errc() && second.ptr == end ? std::max(pid, 0) : 0;
}

// Removes unfinished files of killed processes: names that begin so, last written longer ago than that.
void remove_unfinished(const std::string& folder, const std::string& begin, std::chrono::seconds older_than) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename().string();
        const pid_t pid = name.starts_with(begin) ? writer_of(name) : 0;
        if (!pid || ::kill(pid, 0) == 0 || errno != ESRCH) continue;
        const auto written = fs::last_write_time(entry.path(), error);
        if (!error && fs::file_time_type::clock::now() - written >= older_than) ::unlink(entry.path().c_str());
    }
}

// The file that a path leads to, there or not.
std::string link_target(std::string path) {
    std::error_code error;
    for (int links = 0; links < 40; ++links) { // more, or a circle: opening it then fails with the reason
        const fs::path to = fs::read_symlink(path, error);
        if (error) break;
        path = (fs::path(path).parent_path() / to).string();
    }
    return path;
}

} // namespace

int open_to_read(const std::string& path, bool pipes) {
    const auto refuse = [&](const std::string& why) {
        fail(Exit::bad_data, "{}: cannot be read: {}; check the name", path, why);
    };
    Descriptor d{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)}; // a named pipe would be waited for
    struct stat info {};
    if (d.fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO))
        cannot("read", path, errno); // the name is right
    if (d.fd < 0 || ::fstat(d.fd, &info) < 0) refuse(std::generic_category().message(errno));
    const std::string real = link_target(path); // of a pipe without a name "pipe:[NUMBER]"
    const bool of_shell = S_ISFIFO(info.st_mode) && fs::path(real).filename().string().starts_with("pipe:[");
    if (!S_ISREG(info.st_mode) && !(pipes && of_shell)) refuse("it is not a file but a folder, a pipe or a device");
    ::fcntl(d.fd, F_SETFL, O_RDONLY);
    return std::exchange(d.fd, -1);
}

std::string read_file(const std::string& path) {
    Descriptor d{open_to_read(path, true)};
    struct stat info {};
    if (::fstat(d.fd, &info) < 0) cannot("read", path, errno);
    std::string bytes(static_cast<size_t>(info.st_size) + 1, '\0'); // one more: the read after it finds the end
    size_t used = 0;
    for (;;) { // a pipe has no size, and a file may grow
        if (used == bytes.size()) bytes.resize(2 * used + 4096);
        const ssize_t n = retried([&] { return ::read(d.fd, bytes.data() + used, bytes.size() - used); });
        if (n < 0) cannot("read", path, errno);
        if (n == 0) break;
        used += static_cast<size_t>(n);
    }
    bytes.resize(used);
    return bytes;
}

void expect_writable(const std::string& path) {
    if (::access(folder_of(link_target(path)).c_str(), W_OK) != 0) cannot("written", path, errno);
}

AtomicFile::AtomicFile(const std::string& given) : path_(link_target(given)) {
    static std::atomic<unsigned> count = 0;
    struct stat old {};
    const bool exists = ::stat(given.c_str(), &old) == 0;
    if (!exists && errno == ELOOP) cannot("written", given, errno);
    if (exists && !S_ISREG(old.st_mode))
        fail(Exit::internal, "{}: cannot be written: it is a folder or a device; choose another name", path_);
    do { // a name left by a killed process of the same id is passed over
        temporary_ = fmt::format("{}.tmp-{}-{}", path_, ::getpid(), ++count);
        fd_ = retried([&] { return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
    } while (fd_ < 0 && errno == EEXIST);
    if (fd_ < 0) cannot("written", path_, errno);
    if (exists) ::fchmod(fd_, old.st_mode & 0777); // some file systems keep no modes
}

AtomicFile::~AtomicFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
    if (const int error = write_all(fd_, bytes)) cannot("written", path_, error);
}

void AtomicFile::commit() {
    if (retried([&] { return ::fsync(fd_); }) < 0) cannot("written", path_, errno);
    if (::close(std::exchange(fd_, -1)) < 0) cannot("written", path_, errno);
    if (::rename(temporary_.c_str(), path_.c_str()) < 0) cannot("written", path_, errno);
    temporary_.clear();
    sync_folder(folder_of(path_));
    // The folder may be shared with other machines, whose processes are unknown here: younger files may be theirs.
    remove_unfinished(folder_of(path_), fs::path(path_).filename().string() + ".tmp-", 1h);
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
    AtomicFile file(path);
    file.write(bytes);
    file.commit();
}

LogFile::LogFile(std::string path) : path_(std::move(path)) {
    fd_ = retried([&] { return ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666); });
    if (fd_ < 0) cannot("written", path_, errno);
    struct stat info {};
    if (::fstat(fd_, &info) == 0 && !S_ISFIFO(info.st_mode)) return;
    ::close(fd_);
    fail(Exit::internal, "{}: cannot be written: it is a pipe, which keeps nothing; remove it", path_);
}

LogFile::~LogFile() { ::close(fd_); }

void LogFile::line(std::string_view text) {
    check(text.find('\n') == std::string_view::npos, "{}: a log line with a line break in it", path_);
    const int64_t before = size();
    const int error = write_all(fd_, std::string(text) + '\n'); // a second write only where the first was cut short
    if (!error) return;
    [[maybe_unused]] const int cut = ::ftruncate(fd_, before); // fails on a device, which keeps nothing anyway
    cannot("written", path_, error);
}

void LogFile::truncate_to(int64_t offset) {
    const int64_t end = size();
    char last = '\n';
    if (offset > 0 && offset <= end && retried([&] { return ::pread(fd_, &last, 1, offset - 1); }) < 0)
        cannot("read", path_, errno);
    if (end == 0 && offset > 0)
        fail(Exit::bad_data,
             "{}: is missing or empty; the log of this checkpoint has {} bytes: put it back, or train again", path_,
             offset);
    if (offset < 0 || offset > end || last != '\n')
        fail(Exit::bad_data,
             "{}: no line ends at byte {} of {}; it is not the log of this checkpoint: put the right log back, or "
             "train again",
             path_, offset, end);
    if (retried([&] { return ::ftruncate(fd_, offset); }) < 0) cannot("written", path_, errno);
}

int64_t LogFile::size() const {
    struct stat info {};
    if (::fstat(fd_, &info) < 0) cannot("read", path_, errno);
    return info.st_size;
}

std::string LogFile::last_line() const {
    const int64_t end = size();
    std::string tail(static_cast<size_t>(std::min<int64_t>(end, 4096)), '\0');
    if (!tail.empty() &&
        retried([&] { return ::pread(fd_, tail.data(), tail.size(), end - int64_t(tail.size())); }) < 0)
        cannot("read", path_, errno);
    if (tail.ends_with('\n')) tail.pop_back();
    return tail.substr(tail.rfind('\n') + 1);
}

void LogFile::sync() {
    if (retried([&] { return ::fsync(fd_); }) < 0 && errno != EINVAL) cannot("written", path_, errno); // EINVAL: a pipe
}

void make_output_folder(const std::string& given) {
    const std::string path = without_last_slash(given);
    if (path.empty()) fail(Exit::usage, "--out: the name is empty; name a folder");
    make_folders(folder_of(path));
    if (::mkdir(path.c_str(), 0777) == 0) return sync_folder(folder_of(path));
    if (errno != EEXIST) cannot("made", path, errno);

    std::error_code error;
    if (!fs::is_directory(path, error)) fail(Exit::usage, "{}: is a file, not a folder: choose another --out", path);
    bool empty = true;
    fs::directory_iterator entries(path, error);
    if (error) cannot("read", path, error.value());
    for (const auto& entry : entries) {
        const std::string name = entry.path().filename().string();
        empty &= name == lock_name || writer_of(name);
    }
    if (!empty) fail(Exit::usage, "{}: already exists: choose another --out, or continue it with --resume", path);
    if (::access(path.c_str(), W_OK | X_OK) < 0) cannot("written", path, errno);
}

std::string unused_name(const std::string& given, const std::string& stem) {
    const std::string parent = without_last_slash(given);
    make_folders(parent);
    for (int i = 1;; ++i) { // mkdir is the test: it cannot succeed twice
        const std::string path = (fs::path(parent) / fmt::format("{}-{:03}", stem, i)).string();
        if (::mkdir(path.c_str(), 0777) == 0) {
            sync_folder(folder_of(path));
            return path;
        }
        if (errno != EEXIST) cannot("made", path, errno);
    }
}

OpenFile::OpenFile(std::string path) : path_(std::move(path)), fd_(open_to_read(path_, false)) {}
OpenFile::OpenFile(OpenFile&& o) noexcept : path_(std::move(o.path_)), fd_(std::exchange(o.fd_, -1)) {}
OpenFile::~OpenFile() { Descriptor{fd_}.close(); }

uint64_t OpenFile::size() const {
    struct stat info {};
    if (::fstat(fd_, &info) < 0) cannot("read", path_, errno);
    return static_cast<uint64_t>(info.st_size);
}

size_t OpenFile::read(uint64_t from, size_t most, void* to) const {
    size_t used = 0;
    for (ssize_t n = 1; n > 0 && used < most; used += static_cast<size_t>(n)) {
        const auto at = static_cast<off_t>(from + used);
        n = retried([&] { return ::pread(fd_, static_cast<char*>(to) + used, most - used, at); });
        if (n < 0) cannot("read", path_, errno);
    }
    return used;
}

std::string read_part(const std::string& path, uint64_t from, size_t most) {
    std::string bytes(most, '\0');
    bytes.resize(OpenFile(path).read(from, most, bytes.data()));
    return bytes;
}

namespace {

// Whether the lock could be had; not, if another process has it.
bool take_lock(int fd, int how, const std::string& path) {
    if (::flock(fd, how | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK)
        fail(Exit::internal, "{}: cannot be locked: {}; choose a folder on a file system with locks", path,
             std::strerror(errno));
    return false;
}

} // namespace

FolderLock::FolderLock(const std::string& folder) {
    std::error_code error;
    fs::create_directories(folder, error); // opening the file then fails with the reason
    const std::string path = folder + "/" + lock_name;
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0 && errno == ELOOP)
        fail(Exit::internal, "{}: is a symbolic link, but fci keeps its own file under this name: remove it", path);
    if (fd_ < 0)
        fail(Exit::internal, "{}: cannot be made: {}; check the folder", path,
             error ? error.message() : std::strerror(errno));
    held_ = take_lock(fd_, LOCK_EX, path);
    if (!held_) return;
    remove_unfinished(folder, "", 0s); // this process is the only writer
}

FolderLock::~FolderLock() { ::close(fd_); }

bool FolderLock::held_by_another(const std::string& folder) {
    const std::string path = folder + "/" + lock_name;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return false;
    const bool busy = !take_lock(fd, LOCK_SH, path);
    ::close(fd);
    return busy;
}

} // namespace fci
