#include "core/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/check.h"

namespace fci {
namespace {

namespace fs = std::filesystem;

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
        return "there is too little memory";
    case EIO:
        return "the disk failed: check it before going on";
    default:
        return "check that the folder exists and can be written, or choose another --out";
    }
}

[[noreturn]] void cannot(const char* what, const std::string& path, int error) {
    fail(Exit::internal, "{}: cannot be {}: {}; {}", path, what, std::generic_category().message(error), advice(error));
}

// Signals of ours ask for a checkpoint; a call they interrupt is made again.
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

// A rename or a new folder is on the disk only when the folder that names it is.
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

struct TemporaryFile {
    std::string path;
    bool renamed = false;
    ~TemporaryFile() {
        if (!renamed) ::unlink(path.c_str());
    }
};

} // namespace

std::string read_file(const std::string& path) {
    const auto refuse = [&](const std::string& why) {
        fail(Exit::bad_data, "{}: cannot be read: {}; check the name", path, why);
    };
    Descriptor d{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    struct stat info {};
    if (d.fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO))
        cannot("read", path, errno); // no fault of the name
    if (d.fd < 0 || ::fstat(d.fd, &info) < 0) refuse(std::generic_category().message(errno));
    if (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode)) refuse("it is a folder or a device, not a file");

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
    const std::string folder = fs::path(path).parent_path().string();
    if (::access(folder.empty() ? "." : folder.c_str(), W_OK) != 0) cannot("written", path, errno);
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
    static std::atomic<unsigned> count = 0;
    if (struct stat info{}; ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
        fail(Exit::internal, "{}: cannot be written: it is a folder or a device; choose another name", path);

    std::string name;
    Descriptor d{-1};
    do { // a name left by a killed process of the same id is passed over
        name = fmt::format("{}.tmp-{}-{}", path, ::getpid(), ++count);
        d.fd = retried([&] { return ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
    } while (d.fd < 0 && errno == EEXIST);
    if (d.fd < 0) cannot("written", path, errno);

    TemporaryFile temporary{name};
    if (const int error = write_all(d.fd, bytes)) cannot("written", path, error);
    if (retried([&] { return ::fsync(d.fd); }) < 0) cannot("written", path, errno);
    if (d.close() < 0) cannot("written", path, errno);
    if (::rename(name.c_str(), path.c_str()) < 0) cannot("written", path, errno);
    temporary.renamed = true;
    sync_folder(folder_of(path));
}

LogFile::LogFile(std::string path) : path_(std::move(path)) {
    fd_ = retried([&] { return ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666); });
    if (fd_ < 0) cannot("written", path_, errno);
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
    if (offset < 0 || offset > end || last != '\n')
        fail(Exit::bad_data, "{}: no line ends at byte {} of {}; it is not the log of this checkpoint: put that back, or train anew",
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
    const bool empty = fs::is_empty(path, error);
    if (error) cannot("read", path, error.value());
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

// XXH64 [Collet, xxHash fast digest algorithm, 64-bit variant]: four lanes of multiply and rotate, then mixed.
uint64_t hash64(std::string_view bytes, uint64_t seed) {
    static_assert(std::endian::native == std::endian::little);
    constexpr uint64_t p1 = 0x9E3779B185EBCA87, p2 = 0xC2B2AE3D27D4EB4F, p3 = 0x165667B19E3779F9,
                       p4 = 0x85EBCA77C2B2AE63, p5 = 0x27D4EB2F165667C5;
    const char* p = bytes.data();
    size_t left = bytes.size();
    const auto take = [&]<class Word>(Word word) {
        std::memcpy(&word, p, sizeof word);
        p += sizeof word, left -= sizeof word;
        return word;
    };
    const auto round = [](uint64_t lane, uint64_t word) { return std::rotl(lane + word * p2, 31) * p1; };

    uint64_t h = seed + p5;
    if (left >= 32) {
        uint64_t lane[4] = {seed + p1 + p2, seed + p2, seed, seed - p1};
        while (left >= 32)
            for (uint64_t& v : lane) v = round(v, take(uint64_t{}));
        h = std::rotl(lane[0], 1) + std::rotl(lane[1], 7) + std::rotl(lane[2], 12) + std::rotl(lane[3], 18);
        for (const uint64_t v : lane) h = (h ^ round(0, v)) * p1 + p4;
    }
    h += bytes.size();
    while (left >= 8) h = std::rotl(h ^ round(0, take(uint64_t{})), 27) * p1 + p4;
    if (left >= 4) h = std::rotl(h ^ take(uint32_t{}) * p1, 23) * p2 + p3;
    while (left) h = std::rotl(h ^ take(uint8_t{}) * p5, 11) * p1;
    h = (h ^ h >> 33) * p2;
    h = (h ^ h >> 29) * p3;
    return h ^ h >> 32;
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
    fs::create_directories(folder, error); // what is wrong shows when the file is opened
    const std::string path = folder + "/lock";
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0)
        fail(Exit::internal, "{}: cannot be made: {}; check the folder", path,
             error ? error.message() : std::strerror(errno));
    held_ = take_lock(fd_, LOCK_EX, path);
}

FolderLock::~FolderLock() { ::close(fd_); }

bool FolderLock::held_by_another(const std::string& folder) {
    const std::string path = folder + "/lock";
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool busy = !take_lock(fd, LOCK_SH, path);
    ::close(fd);
    return busy;
}

} // namespace fci
