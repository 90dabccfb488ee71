"""What slices of the training data are worth together: coalitions, Shapley values, interactions."""
