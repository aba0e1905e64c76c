/* The second process: says whether a move is one, and gives the move back as it came. An HTTP request that the game
 * hands on it answers in the game's place. */
#include "standard.h"

__attribute__((export_name("init"))) void init(const char *our, size_t len) {
    print("referee of ", (text){our, len});
    for (;;) {
        size_t mark = heap_used;
        received got;
        receive(&got);
        if (!got.failed && !got.message.is_response) {
            if (has(got.message.request.body, "{\"Http\":")) {
                text head = t("{\"status\":203,\"headers\":{\"X-Answered-By\":\"referee\"}}");
                send_response(true, head.ptr, head.len, false, 0, 0, 0, 0, false, false, 0, 0, 0, 0);
                heap_used = mark;
                continue;
            }
            bool legal = !has(got.message.request.body, "cheat");
            text body = t(legal ? "{\"legal\":true}" : "{\"legal\":false}");
            /* `inherit`: the move, which is the blob, goes back with the answer. */
            send_response(true, body.ptr, body.len, false, 0, 0, 0, 0, false, false, 0, 0, 0, 0);
        }
        heap_used = mark;
    }
}
