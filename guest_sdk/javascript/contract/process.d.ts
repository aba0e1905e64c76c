/// <reference path="./interfaces/guesthouse-process-capabilities.d.ts" />
/// <reference path="./interfaces/guesthouse-process-guest.d.ts" />
/// <reference path="./interfaces/guesthouse-process-http-server.d.ts" />
/// <reference path="./interfaces/guesthouse-process-messaging.d.ts" />
/// <reference path="./interfaces/guesthouse-process-spawning.d.ts" />
/// <reference path="./interfaces/guesthouse-process-system.d.ts" />
/// <reference path="./interfaces/guesthouse-process-tracing.d.ts" />
/// <reference path="./interfaces/guesthouse-process-types.d.ts" />
declare module 'guesthouse:process/process@0.1.0' {
  export type * as GuesthouseProcessCapabilities010 from 'guesthouse:process/capabilities@0.1.0'; // import guesthouse:process/capabilities@0.1.0
  export type * as GuesthouseProcessHttpServer010 from 'guesthouse:process/http-server@0.1.0'; // import guesthouse:process/http-server@0.1.0
  export type * as GuesthouseProcessMessaging010 from 'guesthouse:process/messaging@0.1.0'; // import guesthouse:process/messaging@0.1.0
  export type * as GuesthouseProcessSpawning010 from 'guesthouse:process/spawning@0.1.0'; // import guesthouse:process/spawning@0.1.0
  export type * as GuesthouseProcessSystem010 from 'guesthouse:process/system@0.1.0'; // import guesthouse:process/system@0.1.0
  export type * as GuesthouseProcessTracing010 from 'guesthouse:process/tracing@0.1.0'; // import guesthouse:process/tracing@0.1.0
  export type * as GuesthouseProcessTypes010 from 'guesthouse:process/types@0.1.0'; // import guesthouse:process/types@0.1.0
  export * as guest from 'guesthouse:process/guest@0.1.0'; // export guesthouse:process/guest@0.1.0
}
