/// The Guesthouse guest SDK for C++17. A process is a class:
///
///     #include <guesthouse.hpp>
///
///     class Echo : public guesthouse::Process {
///         void on_message(guesthouse::Channel &channel, const guesthouse::Message &message) override {
///             channel.send(message);
///         }
///     };
///     GUESTHOUSE_PROCESS(Echo)
#ifndef GUESTHOUSE_HPP
#define GUESTHOUSE_HPP

#include <guesthouse/process.hpp>

extern "C" void __wasm_call_ctors();

/// Makes a class the process of this component.
#define GUESTHOUSE_PROCESS(Class)                   \
    extern "C" void gh_run(const gh_address *) {    \
        __wasm_call_ctors();                        \
        auto process = std::make_unique<Class>();   \
        static_cast<guesthouse::Process &>(*process).run(); \
    }

#endif
