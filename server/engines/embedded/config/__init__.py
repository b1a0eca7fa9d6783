"""What a step's config says of it: features, place, version, and the shapes and datatypes that it promises."""
