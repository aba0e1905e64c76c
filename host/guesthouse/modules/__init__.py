"""Runtime modules: one file each, one registry in the router (`kernel/messaging/modules.py`)."""
