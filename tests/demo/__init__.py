"""The demo app, the link tool and the signing examples."""
