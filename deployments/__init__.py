"""What runs when and where: table specs, block registration, the local stack."""
