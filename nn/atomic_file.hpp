// Whole files: read in one go, written in one go or not at all.
//
//   write_file_atomically("model.safetensors", bytes);
//
// The bytes go to a temporary file in the same folder, are flushed to the disk and take the name of
// the target in one step. Whatever happens in between (a full disk, a kill, a power cut) the target
// is either the old file or the new one, never a part of it; on an error the temporary file is
// removed and the old file stays. An existing file keeps its mode (and its owner where the system
// allows that), and a symbolic link keeps pointing to where it points: its target is replaced.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "unroll/autograd/error.hpp"

namespace unroll {

/// Replaces or creates the file. Throws FileError that names the path and the system's reason.
/// Devices, pipes and folders are refused: they cannot be replaced by a file.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// The same for text.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// The same for several pieces, written one after the other without being joined in memory.
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> pieces);

/// The bytes of a regular file. Throws FileError that names the path and the system's reason.
[[nodiscard]] std::string read_whole_file(const std::filesystem::path& path);

}  // namespace unroll
