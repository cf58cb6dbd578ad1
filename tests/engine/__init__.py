"""The local engine: the front speaks as API Gateway does, and the layer lacks nothing."""
