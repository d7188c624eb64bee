// The calls that cuDNN 8 dropped: pick a convolution algorithm within a limit of workspace.
//
// SSD-Caffe asks for an algorithm by cudnnGetConvolution{Forward,BackwardFilter,BackwardData}
// Algorithm. Since cuDNN 8 only the "_v7" calls are left: they list algorithms, the best guess
// first, and leave the choice to the caller. Take the first that works and fits.
#ifndef CAFFE_UTIL_CUDNN_ALGORITHMS_HPP_
#define CAFFE_UTIL_CUDNN_ALGORITHMS_HPP_
#if CUDNN_VERSION >= 8000

#include <cstddef>

const int CUDNN_CONVOLUTION_FWD_SPECIFY_WORKSPACE_LIMIT = 2;
const int CUDNN_CONVOLUTION_BWD_FILTER_SPECIFY_WORKSPACE_LIMIT = 2;
const int CUDNN_CONVOLUTION_BWD_DATA_SPECIFY_WORKSPACE_LIMIT = 2;

namespace caffe {
namespace cudnn {

template <typename Perf, typename Algorithm>
cudnnStatus_t FirstWithin(const Perf* found, int count, size_t limit,
    Algorithm* algorithm) {
  for (int i = 0; i < count; ++i) {
    if (found[i].status == CUDNN_STATUS_SUCCESS && found[i].memory <= limit) {
      *algorithm = found[i].algo;
      return CUDNN_STATUS_SUCCESS;
    }
  }
  return CUDNN_STATUS_NOT_SUPPORTED;
}

}  // namespace cudnn
}  // namespace caffe

inline cudnnStatus_t cudnnGetConvolutionForwardAlgorithm(cudnnHandle_t handle,
    cudnnTensorDescriptor_t bottom, cudnnFilterDescriptor_t filter,
    cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t top,
    int /* preference: always within the limit */, size_t limit,
    cudnnConvolutionFwdAlgo_t* algorithm) {
  cudnnConvolutionFwdAlgoPerf_t found[CUDNN_CONVOLUTION_FWD_ALGO_COUNT];
  int count = 0;
  cudnnStatus_t status = cudnnGetConvolutionForwardAlgorithm_v7(handle, bottom,
      filter, convolution, top, CUDNN_CONVOLUTION_FWD_ALGO_COUNT, &count, found);
  return status != CUDNN_STATUS_SUCCESS ? status :
      caffe::cudnn::FirstWithin(found, count, limit, algorithm);
}

inline cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm(
    cudnnHandle_t handle, cudnnTensorDescriptor_t bottom,
    cudnnTensorDescriptor_t top_diff, cudnnConvolutionDescriptor_t convolution,
    cudnnFilterDescriptor_t filter_diff, int /* preference */, size_t limit,
    cudnnConvolutionBwdFilterAlgo_t* algorithm) {
  cudnnConvolutionBwdFilterAlgoPerf_t
      found[CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT];
  int count = 0;
  cudnnStatus_t status = cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle,
      bottom, top_diff, convolution, filter_diff,
      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT, &count, found);
  return status != CUDNN_STATUS_SUCCESS ? status :
      caffe::cudnn::FirstWithin(found, count, limit, algorithm);
}

inline cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm(
    cudnnHandle_t handle, cudnnFilterDescriptor_t filter,
    cudnnTensorDescriptor_t top_diff, cudnnConvolutionDescriptor_t convolution,
    cudnnTensorDescriptor_t bottom_diff, int /* preference */, size_t limit,
    cudnnConvolutionBwdDataAlgo_t* algorithm) {
  cudnnConvolutionBwdDataAlgoPerf_t found[CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT];
  int count = 0;
  cudnnStatus_t status = cudnnGetConvolutionBackwardDataAlgorithm_v7(handle,
      filter, top_diff, convolution, bottom_diff,
      CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT, &count, found);
  return status != CUDNN_STATUS_SUCCESS ? status :
      caffe::cudnn::FirstWithin(found, count, limit, algorithm);
}

#endif  // CUDNN_VERSION >= 8000
#endif  // CAFFE_UTIL_CUDNN_ALGORITHMS_HPP_
