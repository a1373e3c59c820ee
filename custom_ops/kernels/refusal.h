#pragma once

#include <stdexcept>

// What a kernel does not compute; what() is the message of the status.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};
